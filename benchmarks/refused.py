"""The ways in which a measurement ends without a figure."""


class Refused(Exception):
    """Something was not as it must be for a figure to mean anything: a wrong answer above all."""


class Disturbed(Refused):
    """A round can't be told for a reason that may not come again: it is measured anew, a few times."""


class Lacking(Refused):
    """A candidate does not do at all what would be measured: told in place of a figure, and nobody's fault."""
