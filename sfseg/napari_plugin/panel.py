"""The frame of each widget: fields, a button that starts work in a thread, progress, cancel."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from magicgui.widgets import Container, ProgressBar, PushButton, TextEdit, Widget
from napari.qt.threading import GeneratorWorkerSignals, WorkerBase, create_worker
from napari.utils.notifications import notification_manager, show_error, show_warning

from sfseg.errors import SfsegError
from sfseg.napari_plugin.wording import in_widget_words
from sfseg.napari_plugin.work import CancelledError
from sfseg.types import Progress

_REPORT_PX = 280

Call = Callable[[Progress], Any]
"""Work for the thread. It reports its progress, and stops when that raises."""


class _Failure(NamedTuple):
    error: Exception


class Work(WorkerBase):
    """A call in a thread. `quit` stops it at its next report of progress, without a result."""

    def __init__(self, call: Call) -> None:
        super().__init__(SignalsClass=GeneratorWorkerSignals)
        self._call = call

    def work(self) -> Any:
        """Call it; napari's thread does this.

        Errors are results: napari 0.9.2 answers a signal of an error with one of its own.
        """
        try:
            return self._call(self._report)
        except CancelledError:
            return None
        except Exception as error:  # noqa: BLE001 - the window shows it
            return _Failure(error)

    def _report(self, done: int, total: int) -> None:
        """Tell the window how far the work is; any thread may call it."""
        if self.abort_requested:
            raise CancelledError
        self.yielded.emit((done, total))


class Panel(Container):
    """Fields above a button, a bar and a text.

    A subclass has its fields, `prepare`, which reads them and returns the work, and `finish`, which
    is called with the result, both in the thread of the window.

    Parameters
    ----------
    fields : sequence of Widget
        The fields, top to bottom.
    action : str
        What the button says.
    tools : sequence of Widget
        What is below the button, for what it has made.
    locked : sequence of Widget
        Other buttons, which start work as well: locked while some is under way.
    """

    def __init__(
        self,
        fields: Sequence[Widget],
        action: str,
        *,
        tools: Sequence[Widget] = (),
        locked: Sequence[Widget] = (),
    ) -> None:
        self._locked = tuple(locked)
        self.start_button = PushButton(text=action)
        self.cancel_button = PushButton(text="Cancel", enabled=False)
        self.bar = ProgressBar(min=0, max=1, value=0, visible=False)
        self.report = TextEdit(value="")
        self.report.read_only, self.report.min_height = True, _REPORT_PX
        buttons = Container(
            widgets=[self.start_button, self.cancel_button], layout="horizontal", labels=False
        )
        buttons.margins = (0, 0, 0, 0)
        own = [Container(widgets=tools)] if tools else []
        for each in own:
            each.margins = (0, 0, 0, 0)
        footer = Container(widgets=[buttons, self.bar, *own, self.report], labels=False)
        footer.margins = (0, 0, 0, 0)
        footer.label = ""
        super().__init__(widgets=[*fields, footer])
        self.worker: Work | None = None
        self.start_button.clicked.connect(self.start)
        self.cancel_button.clicked.connect(self.cancel)
        self.native_parent_changed.connect(self._cancel_if_closed)
        self.native.destroyed.connect(self._abandon)

    def prepare(self) -> tuple[Call, str]:
        """Read the fields; return the work, and what to say while it runs."""
        raise NotImplementedError

    def finish(self, result: Any) -> None:
        """Show the result."""
        raise NotImplementedError

    def start(self) -> None:
        """Start the work of the fields as they are now."""
        self.run(self.prepare)

    def run(self, prepare: Callable[[], tuple[Call, str]]) -> None:
        """Start work, which `prepare` returns with what to say while it runs."""
        try:
            call, text = prepare()
        except SfsegError as error:
            self._tell(error)
            return
        self.write(text)
        self._set_busy(busy=True)
        self.worker = create_worker(call, _worker_class=Work, _start_thread=False)
        for name, slot in self._slots().items():
            getattr(self.worker, name).connect(slot)
        self.worker.start()

    def _slots(self) -> dict[str, Callable[..., None]]:
        """Return what is called for each signal of the thread."""
        return {
            "yielded": self._show_progress,
            "returned": self._show_result,
            "warned": self._warn,
            "finished": self._end,
        }

    def _cancel_if_closed(self) -> None:
        """Stop the work of a widget that is taken out of the window: it cannot be seen any more."""
        if self.native.parent() is None:
            self.cancel()

    def _abandon(self) -> None:
        """Stop the work when the window is gone."""
        if self.worker is not None:
            self.worker.quit()
            with contextlib.suppress(RuntimeError):  # Qt itself is at its end
                for name, slot in self._slots().items():
                    getattr(self.worker, name).disconnect(slot)

    def cancel(self) -> None:
        """Ask the work to stop after the tile or section that it is at."""
        if self.worker is not None and not self.worker.abort_requested:
            self.worker.quit()
            self.cancel_button.enabled = False
            self.write("stopping ...")

    def write(self, text: str) -> None:
        """Show a text, as it is: names of files are no markup."""
        self.report.native.setPlainText(text)

    def add(self, text: str) -> None:
        """Add lines to the text that is shown."""
        self.write(f"{self.report.value}\n{text}".strip())

    def _show_progress(self, step: tuple[int, int]) -> None:
        done, self.bar.max = step
        self.bar.value = done

    def _show_result(self, result: Any) -> None:
        if isinstance(result, _Failure):
            self._tell(result.error)
        else:
            self.finish(result)

    def _warn(self, warning: tuple[Any, ...]) -> None:
        """Show a warning of the thread, here and as a notification."""
        text = in_widget_words(str(warning[0]))
        show_warning(text)
        self.add(f"warning: {text}")

    def _tell(self, error: Exception) -> None:
        """Show an error, here and as a notification; of a bug also the traceback."""
        if not isinstance(error, SfsegError | OSError):
            notification_manager.receive_error(type(error), error, error.__traceback__)
            self.write(f"error: {type(error).__name__}: {error}")
            return
        text = in_widget_words(str(error))
        show_error(text)
        self.write(f"error: {text}")

    def _end(self) -> None:
        stopped = self.worker is not None and self.worker.abort_requested
        self.worker = None
        self._set_busy(busy=False)
        if stopped:
            self.write("cancelled: nothing was added")

    def _set_busy(self, *, busy: bool) -> None:
        """Lock the start button while work is under way, and show the bar."""
        for button in (self.start_button, *self._locked):
            button.enabled = not busy
        self.cancel_button.enabled = self.bar.visible = busy
        self.bar.max = self.bar.value = 0  # until it is known how much there is to do
