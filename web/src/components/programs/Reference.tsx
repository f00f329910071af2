import { Search } from "lucide-react";
import { type ReactNode, useMemo, useState } from "react";
import { useTranslation } from "react-i18next";
import { REFERENCE_PATH, reference } from "../../api/programs";
import { filtered, groupsOf, type OpenApi } from "../../state/openapi";
import { Section } from "../account/AccountPage";
import { Failed, Heading, Waiting } from "../admin/parts";
import { useLoaded } from "../admin/useLoaded";
import { useSettled } from "../useSettled";
import { EndpointItem } from "./EndpointItem";

/** All that can be asked of the server, as it describes it itself. */
export function Reference() {
  const { t } = useTranslation("programs");
  const { loaded, reload } = useLoaded<OpenApi>(reference);
  return (
    <>
      <Heading>{t("reference.title")}</Heading>
      <p className="account-text">
        {t("reference.text")}{" "}
        <a className="link" href={REFERENCE_PATH}>
          {t("reference.file")}
        </a>
      </p>
      {loaded.state === "loading" && <Waiting />}
      {loaded.state === "failed" && <Failed failure={loaded.failure} onRetry={() => void reload()} />}
      {loaded.state === "ready" && <Endpoints api={loaded.value} />}
    </>
  );
}

function Endpoints({ api }: { api: OpenApi }) {
  const { t } = useTranslation("programs");
  const [text, setText] = useState("");
  const wanted = useSettled(text);
  const groups = useMemo(() => groupsOf(api), [api]);
  const found = useMemo(() => filtered(groups, wanted), [groups, wanted]);
  const count = found.reduce((sum, { endpoints }) => sum + endpoints.length, 0);
  return (
    <>
      <div className="admin-search form-input">
        <Search size={17} aria-hidden />
        <input
          type="search"
          value={text}
          aria-label={t("reference.search")}
          placeholder={t("reference.search")}
          onChange={(event) => setText(event.target.value)}
        />
      </div>
      <p className="admin-count" role="status">
        {t("reference.count", { count })}
      </p>
      {found.map(({ name, description, endpoints }) => (
        <Group key={name} name={name} text={description}>
          {endpoints.map((endpoint) => (
            <EndpointItem key={endpoint.id} api={api} endpoint={endpoint} />
          ))}
        </Group>
      ))}
    </>
  );
}

/** What the description's tags hold; the texts of the description are English everywhere. */
function Group({ name, text, children }: { name: string; text: string; children: ReactNode }) {
  const { t } = useTranslation("programs");
  return (
    <Section title={name === "" ? t("reference.rest") : name}>
      {text !== "" && (
        <p className="account-text" lang="en">
          {text}
        </p>
      )}
      <ul className="endpoints">{children}</ul>
    </Section>
  );
}
