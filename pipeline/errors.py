"""Mistakes that a person can mend.

    TatarGPTError
    ├── CorpusError        a text that cannot be used
    ├── DownloadError      an archive that could not be downloaded
    │   └── NotAvailable   ... because the server or the archive is not there
    ├── TokenizerError     a tokenizer that is missing, broken or of another model
    ├── CheckpointError    a checkpoint that is missing, broken or foreign
    │   └── ModelNotFoundError
    └── TrainingError      a run that cannot start or go on

The message says what is wrong and what to do, in one line. `pipeline/command.py` prints it
and ends the program with exit code 2. Wrong settings raise `config.ConfigError`.
"""

from __future__ import annotations


class TatarGPTError(Exception):
    """Base of all of them."""


class CorpusError(TatarGPTError):
    """A text that cannot be used."""


class DownloadError(TatarGPTError):
    """An archive that could not be downloaded."""


class NotAvailable(DownloadError):
    """No server, no such archive, or a web page in its place: the built-in sample may stand in."""


class TokenizerError(TatarGPTError):
    """A tokenizer that is missing, broken or of another model."""


class CheckpointError(TatarGPTError):
    """A checkpoint that is missing, broken or foreign."""


class ModelNotFoundError(CheckpointError):
    """No checkpoint where one was expected."""


class TrainingError(TatarGPTError):
    """A run that cannot start or go on."""


def first_line(error: BaseException) -> str:
    """What another library's exception says, in one line of ours."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
