import io

from captionloop.backend.local.screen import Screen


class _Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_changes_and_the_last_one_stays() -> None:
    stream = _Terminal()
    screen = Screen(stream)
    with screen.step("Starting it", "It runs") as step:
        step.update("warming up")
    assert "Starting it" in stream.getvalue()
    assert stream.getvalue().rpartition("\x1b[K")[2] == "✓ It runs (0 s)\n"


def test_a_known_part_is_a_bar() -> None:
    stream = _Terminal()
    screen = Screen(stream)
    with screen.step("Copying", "Copied") as step:
        step._drawn = 0.0  # the next frame is due
        step.update(share=0.5)
    assert "[############............] 50%" in stream.getvalue()


def test_an_output_that_is_no_terminal_gets_plain_lines() -> None:
    stream = io.StringIO()
    screen = Screen(stream)
    with screen.step("Starting it", "It runs") as step:
        step.update("not due yet")
        step._plain_line_due = 0.0
        step.update("warming up", share=0.25)
    assert stream.getvalue().splitlines() == [
        "Starting it …",
        "  … Starting it, 0 s: 25%, warming up",
        "* It runs (0 s)",
    ]


def test_a_step_that_fails_does_not_claim_to_be_done() -> None:
    stream = io.StringIO()
    try:
        with Screen(stream).step("Starting it", "It runs"):
            raise RuntimeError
    except RuntimeError:
        pass
    assert "It runs" not in stream.getvalue()
