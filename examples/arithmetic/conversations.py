"""What is said in the arithmetic example: the student's question, the teacher's, and worked solutions."""

import random
import re

from make_prompts import Operands, problem_text

Messages = list[dict[str, str]]


def student_messages(operands: Operands) -> Messages:
    """Ask for the sum."""
    return [{"role": "user", "content": f"What is {problem_text(operands)}?"}]


def teacher_messages(operands: Operands) -> Messages:
    """Ask for the sum, and tell it: the teacher is to show the way there."""
    return [{"role": "user", "content": f"What is {problem_text(operands)}? The answer is {sum(operands)}."}]


def number_by_number(operands: Operands) -> str:
    """Add one number after the other: `47+85=132 132+36=168`."""
    first, second, third = operands
    subtotal = first + second
    return f"{first}+{second}={subtotal} {subtotal}+{third}={subtotal + third}"


def tens_and_units(operands: Operands) -> str:
    """Add the tens, then the units, then both: `40+80+30=150 7+5+6=18 150+18=168`."""
    tens = [number // 10 * 10 for number in operands]
    units = [number % 10 for number in operands]
    columns = [f"{'+'.join(map(str, column))}={sum(column)}" for column in (tens, units)]
    return f"{' '.join(columns)} {sum(tens)}+{sum(units)}={sum(operands)}"


def worked_solution(operands: Operands, rng: random.Random) -> str:
    """Solve the sum in one of two ways, so that samples differ in length and in how they get there."""
    working = rng.choice([number_by_number, tens_and_units])(operands)
    return f"<think>{working}</think><answer>{sum(operands)}</answer>"


def is_right(completion: str, operands: Operands) -> bool:
    """Tell whether the completion closes with one answer and it is the sum, digit by digit."""
    answers = re.findall(r"<answer>(.*?)</answer>", completion)
    return answers == [str(sum(operands))]
