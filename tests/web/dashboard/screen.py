"""A page of a real browser that notes every complaint."""

from __future__ import annotations

from attrs import field, frozen
from playwright.async_api import ConsoleMessage, Page, expect

API = "/api/v1/model-performance"
MOUNT = "/model-performance"
PATIENCE_MS = 20_000


@frozen
class Screen:
    """A page, and what it complained of: messages of the console (a broken policy is one) and errors of scripts."""

    page: Page
    address: str
    complaints: list[str] = field(factory=list)

    async def open(self, anchor: str, address: str | None = None) -> None:
        """Show a view, freshly loaded, until what it asked for is there."""
        await self.page.goto("about:blank")
        await self.page.goto(f"{address or self.address}{MOUNT}/{anchor}")
        await self.settle()

    async def settle(self) -> None:
        await expect(self.page.locator("main")).not_to_have_attribute("aria-busy", "true", timeout=PATIENCE_MS)

    async def number(self, name: str, within: str = "main") -> str:
        """What the page shows under that name."""
        return await self.page.locator(f"{within} [data-number={name}]").first.inner_text()

    async def fact(self, word: str) -> str:
        """All the text of the fact that is headed *word*."""
        return await self.page.locator(".facts > div", has_text=word).first.inner_text()


def watch(page: Page, address: str) -> Screen:
    screen = Screen(page, address)

    def note(message: ConsoleMessage) -> None:
        screen.complaints.append(f"{message.type}: {message.text}")

    page.on("console", note)
    page.on("pageerror", lambda error: screen.complaints.append(str(error)))
    return screen
