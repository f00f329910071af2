import { type ComponentType, useEffect, useState } from "react";
import { useTranslation } from "react-i18next";
import type { User } from "../api/types";
import { needTexts } from "../i18n";
import { ConnectionLine } from "./Notices";

type Page = ComponentType<{ user: User | null }>;

/** The parts of the page that are loaded when somebody goes there: the chat does without them. */
const areas = {
  admin: async (): Promise<Page> => {
    const [{ AdminPage }] = await Promise.all([
      import("./admin/AdminPage"),
      needTexts("admin"),
      needTexts("programs"),
    ]);
    return ({ user }) => user !== null && <AdminPage user={user} />;
  },
  programs: async (): Promise<Page> => {
    const [{ ProgramsPage }] = await Promise.all([
      import("./programs/ProgramsPage"),
      needTexts("admin"),
      needTexts("programs"),
    ]);
    return ProgramsPage;
  },
};

export function LazyPage({ area, user }: { area: keyof typeof areas; user: User | null }) {
  const { t } = useTranslation();
  const [page, setPage] = useState<{ Page: Page } | "loading" | "failed">("loading");
  useEffect(() => {
    let wanted = true;
    areas[area]().then(
      (Page) => wanted && setPage({ Page }),
      () => wanted && setPage("failed"),
    );
    return () => {
      wanted = false;
    };
  }, [area]);
  if (typeof page !== "string") return <page.Page user={user} />;
  return (
    <div className="entry">
      <ConnectionLine />
      <main className="centred entry-waiting">
        {page === "loading" ? (
          <div role="status">
            <span className="spinner" aria-hidden="true" />
            <span className="sr-only">{t("app.loading")}</span>
          </div>
        ) : (
          <div role="alert">
            <p>{t("problem.unreachable")}</p>
            {/* A browser does not ask again for a part that failed, and the server may have another version by now. */}
            <button type="button" className="button" onClick={() => window.location.reload()}>
              {t("connection.retry")}
            </button>
          </div>
        )}
      </main>
    </div>
  );
}
