import { useTranslation } from "react-i18next";
import { Section } from "../account/AccountPage";
import { PageLink } from "../account/EntryPage";
import { CopyButton } from "../CopyButton";

const clients = [
  ["openai", "/v1"],
  ["deepseek", ""],
  ["anthropic", "/anthropic"],
] as const;

/** What to put into clients as their address, and a first request. */
export function Endpoints({ model }: { model: string | null }) {
  const { t } = useTranslation("programs");
  const { origin } = window.location;
  const example = [
    `curl ${origin}/v1/chat/completions \\`,
    `  -H "Authorization: Bearer $CACHALOT_KEY" \\`,
    `  -H "Content-Type: application/json" \\`,
    `  -d '{"model": "${model ?? "smollm2-135m"}", "messages": [{"role": "user", "content": "Hello!"}]}'`,
  ].join("\n");
  return (
    <Section title={t("base.title")} text={t("base.text")}>
      <dl className="facts base-urls">
        {clients.map(([name, path]) => (
          <div key={name} className="contents">
            <dt>{t(`base.${name}`)}</dt>
            <dd>
              <code>{origin + path}</code>
              <CopyButton text={origin + path} label={t("base.copy", { name: t(`base.${name}`) })} />
            </dd>
          </div>
        ))}
      </dl>
      <div className="example">
        <pre>
          <code>{example}</code>
        </pre>
        <CopyButton text={example} label={t("base.copyExample")} />
      </div>
      <p className="account-text">
        <PageLink href="/reference">{t("base.reference")}</PageLink>
      </p>
    </Section>
  );
}
