"""What an account may do on the pages."""

import enum
from collections.abc import Collection
from dataclasses import dataclass


class Role(enum.StrEnum):
    """Permissions on the pages."""

    ANNOTATOR = "annotator"  # write captions on the caption screen, and nothing else
    READER = "reader"  # see everything
    REVIEWER = "reviewer"  # and decide about captions
    LEAD = "lead"  # and change everything

    @property
    def sees_pages(self) -> bool:
        return self is not Role.ANNOTATOR

    @property
    def may_review(self) -> bool:
        return self in {Role.REVIEWER, Role.LEAD}


@dataclass(frozen=True)
class Roles:
    """The roles of people with an account in Label Studio, by e-mail; whoever is not named is an annotator."""

    leads: Collection[str] = ()
    reviewers: Collection[str] = ()

    def of(self, email: str) -> Role:
        name = email.lower()
        if name in self.leads:
            return Role.LEAD
        return Role.REVIEWER if name in self.reviewers else Role.ANNOTATOR
