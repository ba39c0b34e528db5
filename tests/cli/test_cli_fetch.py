"""`sfseg fetch` as a person meets it."""

from tests.cli.commands import fails, sfseg


def test_fetch_prints_the_folder_and_nothing_else_on_stdout(tmp_path):
    result = sfseg("fetch", "tissue", "--to", tmp_path)
    assert result.exit_code == 0
    assert result.stdout == f"{tmp_path / 'tissue'}\n"
    assert "licence" in result.stderr
    assert (tmp_path / "tissue" / "volume.tif").is_file()


def test_fetch_verify_reads_a_fetched_dataset_through(tmp_path):
    assert "sfseg fetch tissue" in fails("fetch", "tissue", "--verify", "--to", tmp_path)
    sfseg("fetch", "tissue", "--to", tmp_path)
    result = sfseg("fetch", "tissue", "--verify", "--to", tmp_path)
    assert result.exit_code == 0
    assert "volume.tif" in result.stderr


def test_fetch_list_says_what_is_here():
    sfseg("fetch", "tissue")
    lines = sfseg("fetch", "--list").stdout.splitlines()
    rows = {line.split()[0]: line for line in lines}
    assert {"isbi2012", "piriform", "vnc", "snemi3d", "cremi", "tissue"} <= rows.keys()
    assert " yes " in rows["tissue"]
    assert " no " in rows["isbi2012"]


def test_fetch_from_takes_the_data_that_the_user_has(isbi, tmp_path):
    result = sfseg("fetch", "isbi2012", "--from", isbi, "--to", tmp_path)
    assert result.exit_code == 0
    assert (tmp_path / "isbi2012" / "train-labels.tif").is_file()


def test_fetch_of_an_unknown_dataset_suggests_the_nearest():
    assert "did you mean 'isbi2012'" in fails("fetch", "isbi2021", code=2)


def test_fetch_from_with_nothing_to_fetch_is_refused(tmp_path):
    assert "--from" in fails("fetch", "tissue", "--verify", "--from", tmp_path, code=2)


def test_fetch_without_a_name_is_a_usage_error():
    assert "sfseg fetch --list" in fails("fetch", code=2)
