"""What stops a run."""


class ExtensionError(RuntimeError):
    """The extension can't do what the model asks for, here: the message says what, why, and what to do."""
    exit_status = 1


class WrongArguments(ExtensionError):
    """MDS parsed arguments that contradict the model. The status is that of `zerofs check`."""
    exit_status = 10
