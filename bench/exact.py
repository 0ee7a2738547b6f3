"""What answers are paid for where both sides of a comparison are to be paid by the same function."""


def exact(said: str, answer: str) -> bool:
    """Whether it is the row's answer and nothing else."""
    return said.strip() == answer
