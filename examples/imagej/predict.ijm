// Predicts the membrane map of the active image with sfseg, and opens it.
// In Fiji and ImageJ: Plugins > Macros > Run...
// Where a rectangle is selected, only that part is predicted. The image itself is not changed.

sfseg = "sfseg"; // if it is not found: its whole path, as `command -v sfseg` prints it
if (getArgument() != "") sfseg = getArgument();

title = getTitle();
folder = getDirectory("temp") + "sfseg-" + d2s(getTime(), 0) + File.separator;
File.makeDirectory(folder);
image = folder + "image.tif";
map = folder + "map.tif";

run("Duplicate...", "title=image duplicate");
saveAs("Tiff", image);
close();
showStatus("sfseg predicts " + title + " ...");
said = exec(sfseg, "predict", image, "-o", map);
if (!File.exists(map))
    exit("sfseg made no map. " + said + "To see why, type in a terminal:\n" + sfseg
        + " predict \"" + image + "\" -o \"" + map + "\"");
open(map);
rename("map of " + title);

files = newArray(image, map, map + ".json", folder);
for (i = 0; i < files.length; i++) is_deleted = File.delete(files[i]);
