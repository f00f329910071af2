import "./admin.css";
import "../programs/programs.css";
import { ArrowLeft } from "lucide-react";
import { useEffect, useRef } from "react";
import { useTranslation } from "react-i18next";
import type { User } from "../../api/types";
import { type AdminPlace, adminParts, adminPath, adminPlaceOf, pathOf } from "../../state/route";
import { useSession } from "../../state/session";
import { useStore } from "../../state/store";
import { PageLink } from "../account/EntryPage";
import { ConnectionLine, NoticeLine } from "../Notices";
import { SettingsMenu } from "../SettingsMenu";
import { Tips } from "../Tips";
import { Audit } from "./Audit";
import { GatePart } from "./GatePart";
import { Groups } from "./Groups";
import { Status } from "./Status";
import { Usage } from "./Usage";
import { UserPage } from "./UserPage";
import { Users } from "./Users";

/** The area of those who run the place. */
export function AdminPage({ user }: { user: User }) {
  const { t } = useTranslation();
  const { t: admin } = useTranslation("admin");
  const open = useStore((state) => state.open.id);
  const address = useSession((state) => state.address);
  const [path = "", search = ""] = address.split("?");
  const place = adminPlaceOf(path);
  const nav = useRef<HTMLElement>(null);
  // Where not all of them fit, one sees at least where one is.
  // biome-ignore lint/correctness/useExhaustiveDependencies: runs for another part
  useEffect(() => {
    nav.current?.querySelector('[aria-current="page"]')?.scrollIntoView();
  }, [place.part]);
  return (
    <div className="account admin">
      <ConnectionLine />
      <header className="account-head">
        <PageLink href={pathOf(open)} className="button-text account-back">
          <ArrowLeft size={18} aria-hidden />
          {t("account.back")}
        </PageLink>
        <SettingsMenu compact />
      </header>
      <nav ref={nav} className="admin-nav" aria-label={admin("label")}>
        {adminParts.map((part) => (
          <PageLink
            key={part}
            href={adminPath({ part, user: null })}
            className="admin-tab"
            current={part === place.part}
          >
            {admin(part)}
          </PageLink>
        ))}
      </nav>
      <main className="account-main">
        <Part key={address} me={user} place={place} search={search} />
      </main>
      <NoticeLine />
      <Tips />
    </div>
  );
}

function Part({ me, place, search }: { me: User; place: AdminPlace; search: string }) {
  switch (place.part) {
    case "users":
      return place.user === null ? (
        <Users me={me} query={new URLSearchParams(search).get("q") ?? ""} />
      ) : (
        <UserPage me={me} id={place.user} />
      );
    case "groups":
      return <Groups administers={me.role === "admin"} />;
    case "usage":
      return <Usage user={new URLSearchParams(search).get("user") || null} />;
    case "gate":
      return <GatePart administers={me.role === "admin"} />;
    case "audit":
      return <Audit user={new URLSearchParams(search).get("user")} />;
    case "status":
      return <Status administers={me.role === "admin"} />;
  }
}
