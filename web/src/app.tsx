import { useEffect } from "react";
import { useTranslation } from "react-i18next";
import { AccountPage } from "./components/account/AccountPage";
import { LoginPage } from "./components/account/LoginPage";
import { ResetPage } from "./components/account/ResetPage";
import { SetupPage } from "./components/account/SetupPage";
import { SignUpPage } from "./components/account/SignUpPage";
import { VerifyPage } from "./components/account/VerifyPage";
import { ChatPage } from "./components/ChatPage";
import { StatusPage } from "./components/gate/StatusPage";
import { LazyPage } from "./components/LazyPage";
import { ConnectionLine } from "./components/Notices";
import { useSession } from "./state/session";

/** What the address shows to whoever is signed in. Another user's page is another page: nothing of it is kept. */
export function App() {
  const state = useSession((session) => session.state);
  const page = useSession((session) => session.page);
  const user = useSession((session) => session.user);
  if (state !== "known") return <Unknown />;
  if (page === "verify") return <VerifyPage />;
  if (page === "reset") return <ResetPage />;
  if (page === "status") return <StatusPage user={user} />;
  if (page === "programs") return <LazyPage key={user?.id} area="programs" user={user} />;
  if (user === null) {
    if (page === "setup") return <SetupPage />;
    return page === "sign-up" ? <SignUpPage /> : <LoginPage />;
  }
  if (page === "admin") return <LazyPage key={user.id} area="admin" user={user} />;
  return page === "account" ? <AccountPage key={user.id} user={user} /> : <ChatPage key={user.id} />;
}

/** As long as the server hasn't said who is signed in. */
function Unknown() {
  const { t } = useTranslation();
  const asking = useSession((session) => session.state === "asking");
  useEffect(() => {
    document.title = t("app.name");
  }, [t]);
  return (
    <div className="entry">
      <ConnectionLine />
      {asking && (
        <main className="centred entry-waiting">
          <div role="status">
            <span className="spinner" aria-hidden="true" />
            <span className="sr-only">{t("app.loading")}</span>
          </div>
        </main>
      )}
    </div>
  );
}
