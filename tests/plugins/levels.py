"""A measure in one file: mean and standard deviation of the samples' values, beside those of held-out data."""


def measure(subject, *, digits: int = 3):
    """Levels of samples and of data.

    Args:
      digits: to which the figures are rounded.
    """
    held = subject.some(subject.held, len(subject.made))
    values = {"level": subject.made.mean(), "level_held_out": held.mean(), "contrast": subject.made.std()}
    return {name: round(float(value), digits) for name, value in values.items()}
