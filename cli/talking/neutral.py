"""Text from another machine that comes piece by piece, without what could steer a terminal or reorder what is read."""

from __future__ import annotations

from ..output import plain

#: A sequence that has not ended after so many characters is none; what it hid is shown.
_LONGEST = 512

_ESCAPE, _BELL = "\x1b", "\x07"
#: What begins a control string: OSC, DCS, SOS, PM and APC, behind an escape or as one character.
_STRINGS = ("]", "P", "X", "^", "_")
_STRINGS_OF_ONE = "\x9d\x90\x98\x9e\x9f"
_ENDS_STRING = "\x9c"
_CSI_OF_ONE = "\x9b"


class Neutraliser:
    """
    Takes escape sequences, other control characters and reordering ones out of text.

    Where the text is split does not matter: what may become a sequence is held back until it is one, or none.
    """

    def __init__(self) -> None:
        self._held = ""

    def feed(self, text: str) -> str:
        """Return what can be shown now."""
        return "".join(map(self._next, text))

    def end(self) -> str:
        """Return what was held back, now that nothing more comes."""
        held, self._held = self._held, ""
        return plain(held)

    def _next(self, character: str) -> str:
        if not self._held:
            if character in (_ESCAPE, _CSI_OF_ONE) or character in _STRINGS_OF_ONE:
                self._held = character
                return ""
            return plain(character)
        if character in (_ESCAPE, "\n") and not self._may_hold(character):
            # The sequence was broken off by another one, or by the end of the line.
            return self.end() + self._next(character)
        self._held += character
        if self._is_whole():
            self._held = ""
        elif len(self._held) > _LONGEST:
            return self.end()
        return ""

    def _may_hold(self, character: str) -> bool:
        return character == _ESCAPE and self._is_string()

    def _is_string(self) -> bool:
        return self._held[0] in _STRINGS_OF_ONE or self._held[1:2] in _STRINGS

    def _is_whole(self) -> bool:
        held, last = self._held, self._held[-1]
        if self._is_string():
            begun = 1 if held[0] in _STRINGS_OF_ONE else 2
            if len(held) > begun and held[-2] == _ESCAPE:
                return True
            return len(held) > begun and last in (_BELL, _ENDS_STRING)
        if held[0] == _CSI_OF_ONE or held[1:2] == "[":
            begun = 1 if held[0] == _CSI_OF_ONE else 2
            return len(held) > begun and not " " <= last <= "?"
        # Two characters, or more with intermediate ones: ESC ( B.
        return not " " <= last <= "/"
