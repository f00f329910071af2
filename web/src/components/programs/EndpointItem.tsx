import { type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";
import { curlOf, type Endpoint, type OpenApi } from "../../state/openapi";
import { CopyButton } from "../CopyButton";
import { FieldItem, SchemaView } from "./SchemaView";

/** One thing that can be asked. What is within is made once it is opened. */
export function EndpointItem({ api, endpoint }: { api: OpenApi; endpoint: Endpoint }) {
  const { t } = useTranslation("programs");
  const [opened, setOpened] = useState(false);
  const { method, path, summary, deprecated } = endpoint;
  return (
    <li>
      <details className="endpoint" onToggle={(event) => event.currentTarget.open && setOpened(true)}>
        <summary>
          <span className="endpoint-head">
            <span className={`method method-${method.toLowerCase()}`}>{method}</span>
            <code className="endpoint-path">{path}</code>
            {deprecated && <span className="badge">{t("reference.deprecated")}</span>}
          </span>
          {summary !== "" && (
            <span className="endpoint-summary" lang="en">
              {summary}
            </span>
          )}
        </summary>
        {opened && <Details api={api} endpoint={endpoint} />}
      </details>
    </li>
  );
}

function Details({ api, endpoint }: { api: OpenApi; endpoint: Endpoint }) {
  const { t } = useTranslation("programs");
  const { description, parameters, body, responses } = endpoint;
  const curl = curlOf(api, endpoint, window.location.origin);
  return (
    <div className="endpoint-body">
      {description !== "" && (
        <p className="endpoint-text" lang="en">
          {description}
        </p>
      )}
      {parameters.length > 0 && (
        <Part title={t("reference.parameters")}>
          <ul className="schema-fields">
            {parameters.map((parameter) => (
              <FieldItem
                key={`${parameter.place} ${parameter.name}`}
                api={api}
                field={parameter}
                place={parameter.place}
                description={parameter.description}
                within={[]}
              />
            ))}
          </ul>
        </Part>
      )}
      {body !== null && (
        <Part title={body.required ? t("reference.body") : t("reference.bodyOptional")}>
          <Contents api={api} {...body} />
        </Part>
      )}
      {responses.map(({ status, ...response }) => (
        <Part
          key={status}
          title={status === "default" ? t("reference.otherwise") : t("reference.response", { status })}
        >
          {response.media.length === 0 && response.description === "" && (
            <p className="schema-note">{t("reference.empty")}</p>
          )}
          <Contents api={api} {...response} />
        </Part>
      ))}
      {curl !== null && (
        <Part title={t("reference.example")}>
          <div className="example">
            <pre>
              <code>{curl}</code>
            </pre>
            <CopyButton text={curl} label={t("base.copyExample")} />
          </div>
        </Part>
      )}
    </div>
  );
}

function Part({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section>
      <h3>{title}</h3>
      {children}
    </section>
  );
}

interface ContentsProps extends Pick<Endpoint["responses"][number], "description" | "media"> {
  api: OpenApi;
}

function Contents({ api, description, media }: ContentsProps) {
  return (
    <>
      {description !== "" && (
        <p className="schema-note" lang="en">
          {description}
        </p>
      )}
      {media.map(({ type, schema }) => (
        <div key={type}>
          <p className="schema-note">
            <code>{type}</code>
          </p>
          <SchemaView api={api} schema={schema} within={[]} />
        </div>
      ))}
    </>
  );
}
