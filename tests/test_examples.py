"""How the examples of the documentation are found and compared with what they print."""

import pytest

from tests.cases.examples import Example, alike, examples

PAGE = """Text.

```python
print(1)
```

```text
1
```

More.

```python
print(2)
```

```sh
make
```
"""


def test_an_example_has_the_output_right_below_it() -> None:
    first, second = examples(PAGE)
    assert first == Example("print(1)\n", "1\n")
    assert second == Example("print(2)\n", None)
    assert first.printed() == first.output


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("certified 12 of 20\n", "certified 12 of 20\n"),
        ("welfare 11.83, Nash", "welfare 11.84, Nash"),
        ("welfare -0.0", "welfare 0.1"),
        ("gain 1.2e-05", "gain 1.3e-05"),
        ("tensor([0.1250, 0.2500])", "tensor([0.1250, 0.2501])"),
    ],
)
def test_last_digits_may_differ(shown: str, printed: str) -> None:
    assert alike(shown, printed)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("certified 12 of 20", "certified 13 of 20"),
        ("welfare 11.83", "welfare 11.85"),
        ("welfare 11.83", "welfare -11.83"),
        ("gain 1.2e-05", "gain 1.2e-04"),
        ("certified", "refuted"),
        ("1 2", "1 2 3"),
        ("1\n2", "1\n\n2"),
        ("", "1"),
    ],
)
def test_other_differences_count(shown: str, printed: str) -> None:
    assert not alike(shown, printed)
