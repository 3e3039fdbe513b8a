"""Every error that Captionloop raises on purpose.

    CaptionloopError
    ├── SettingsError         a setting is missing or wrong                          exit code 2
    │   └── LostKeyError      something is encrypted with a key that is not known    2
    ├── NotFoundError         a named project, version, run or file does not exist   4
    ├── BusyError             something else holds what is needed (a port, a lock)   5
    ├── ServiceError          a service does not answer or refuses                   3
    │   ├── LabelStudioError  Label Studio refused, or answered what nobody expects  3
    │   └── StorageError      a file cannot be written: the disk is full, or not ours to write on  3
    ├── LabelConfigError      a label config without a text box for captions         1
    ├── ImageError            one image that cannot be read or used                  1
    ├── CaptionFileError      a caption file that is malformed or not recognised     1
    ├── CheckpointError       a model directory that cannot be loaded or trusted     1
    ├── BackupError           a backup that cannot be made, or is damaged            1
    └── RunError              a run that cannot continue                             1
        ├── RunCancelled      it was cancelled; nothing of it is kept                1
        ├── RunLost           another worker has taken it over; nothing is written   1
        └── TrialPruned       an unpromising trial of a sweep                        1

Each message is one or two sentences for people: what was found, where (task, file, field), what to do.
"""


class CaptionloopError(Exception):
    """Base of all of them; `exit_code` is the exit code of the command line."""

    exit_code = 1


class SettingsError(CaptionloopError):
    exit_code = 2


class LostKeyError(SettingsError):
    pass


class NotFoundError(CaptionloopError):
    exit_code = 4


class BusyError(CaptionloopError):
    exit_code = 5


class ServiceError(CaptionloopError):
    exit_code = 3


class LabelStudioError(ServiceError):
    """Label Studio refused a call or sent an unexpected response.

    `status` is the HTTP status, or None without a response.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def may_pass(self) -> bool:
        """Whether it is temporary (unreachable or busy), so that a retry may succeed."""
        return self.status is None or self.status == 429 or self.status >= 500


class StorageError(ServiceError):
    pass


class LabelConfigError(CaptionloopError):
    pass


class ImageError(CaptionloopError):
    """One image that cannot be read or used.

    `may_pass` is True for a temporary error that says nothing about the image, such as an unreachable server.
    """

    def __init__(self, message: str, *, may_pass: bool = False) -> None:
        super().__init__(message)
        self.may_pass = may_pass


class CaptionFileError(CaptionloopError):
    pass


class CheckpointError(CaptionloopError):
    pass


class BackupError(CaptionloopError):
    pass


class RunError(CaptionloopError):
    pass


class RunCancelled(RunError):
    pass


class RunLost(RunError):
    pass


class TrialPruned(RunError):
    pass
