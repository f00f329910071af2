import { act, cleanup, fireEvent, render, screen, waitFor } from "@testing-library/react";
import { useTranslation } from "react-i18next";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { chooseLanguage, startLanguages } from "../i18n";
import { useSaid } from "./useSaid";

beforeAll(startLanguages);
afterEach(cleanup);

function Line() {
  const { t } = useTranslation();
  const [said, say] = useSaid(t);
  return (
    <>
      <button type="button" onClick={() => say((t) => t("password.changed"))}>
        {t("password.submit")}
      </button>
      <p role="status">{said}</p>
    </>
  );
}

describe("a status line", () => {
  it("changes its language with the page", async () => {
    act(() => chooseLanguage("en"));
    render(<Line />);
    expect(screen.getByRole("status").textContent).toBe("");
    fireEvent.click(screen.getByRole("button"));
    const english = screen.getByRole("status").textContent;
    expect(english).not.toBe("");
    act(() => chooseLanguage("fr"));
    await waitFor(() => expect(document.documentElement.lang).toBe("fr"));
    await waitFor(() => expect(screen.getByRole("status").textContent).not.toBe(english));
    act(() => chooseLanguage("en"));
    await waitFor(() => expect(screen.getByRole("status").textContent).toBe(english));
  });
});
