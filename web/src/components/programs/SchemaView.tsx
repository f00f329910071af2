import { useState } from "react";
import { useTranslation } from "react-i18next";
import {
  boundsOf,
  describedBy,
  type Field,
  fieldsOf,
  type Inner,
  innerOf,
  type OpenApi,
  type Schema,
  schemaName,
  typeText,
  valuesOf,
} from "../../state/openapi";

interface Props {
  api: OpenApi;
  schema: Schema;
  /** The names of what one has opened on the way here: none of them is shown within itself. */
  within: readonly string[];
}

/** A value: the fields of an object, or what else it is, with the objects in it to be opened. */
export function SchemaView({ api, schema, within }: Props) {
  const fields = fieldsOf(api, schema);
  const name = schemaName(api, schema);
  const inside = name === undefined ? within : [...within, name];
  if (fields.length > 0) return <Fields api={api} fields={fields} within={inside} />;
  return (
    <div className="schema-plain">
      <Facts api={api} schema={schema} />
      <Inners api={api} schema={schema} within={inside} />
    </div>
  );
}

function Fields({
  api,
  fields,
  within,
}: {
  api: OpenApi;
  fields: readonly Field[];
  within: readonly string[];
}) {
  return (
    <ul className="schema-fields">
      {fields.map((field) => (
        <FieldItem key={field.name} api={api} field={field} within={within} />
      ))}
    </ul>
  );
}

interface FieldProps {
  api: OpenApi;
  field: Field;
  within: readonly string[];
  /** Where a parameter stands. */
  place?: string;
  description?: string;
}

export function FieldItem({
  api,
  field: { name, required, schema },
  within,
  place,
  description = "",
}: FieldProps) {
  const { t } = useTranslation("programs");
  return (
    <li>
      <span className="schema-head">
        <code className="schema-name">{name}</code>
        {place !== undefined && <span className="schema-note">{place}</span>}
        {required && <span className="badge">{t("reference.required")}</span>}
        <Facts api={api} schema={schema} hidden={description} />
      </span>
      {description !== "" && (
        <p className="schema-text" lang="en">
          {description}
        </p>
      )}
      <Inners api={api} schema={schema} within={within} />
    </li>
  );
}

/** Its type, its bounds, what it may be, and what is said of it, unless that is said otherwise. */
function Facts({ api, schema, hidden = "" }: { api: OpenApi; schema: Schema; hidden?: string }) {
  const { t } = useTranslation("programs");
  const values = valuesOf(api, schema);
  const description = describedBy(api, schema);
  return (
    <>
      <code className="schema-type">{typeText(api, schema)}</code>
      {boundsOf(api, schema).map((bound) => (
        <code key={bound} className="schema-bound">
          {bound}
        </code>
      ))}
      {values.length > 0 && (
        <span className="schema-values">
          {values.length > 1 && t("reference.oneOf")}
          {values.map((value) => (
            <code key={value}>{value}</code>
          ))}
        </span>
      )}
      {hidden === "" && description !== "" && (
        <span className="schema-text" lang="en">
          {description}
        </span>
      )}
    </>
  );
}

function Inners({ api, schema, within }: Props) {
  return innerOf(api, schema).map((inner) => (
    <InnerView
      key={inner.name + Object.keys(inner.schema.properties ?? {}).join()}
      api={api}
      inner={inner}
      within={within}
    />
  ));
}

/** An object within, whose fields are made once it is opened. */
function InnerView({ api, inner, within }: { api: OpenApi; inner: Inner; within: readonly string[] }) {
  const { t } = useTranslation("programs");
  const [opened, setOpened] = useState(false);
  const { name } = inner;
  const known = schemaName(api, inner.schema);
  if (known !== undefined && within.includes(known))
    return <p className="schema-note">{t("reference.above", { name })}</p>;
  return (
    <details className="schema-inner" onToggle={(event) => event.currentTarget.open && setOpened(true)}>
      <summary>{t("reference.fields", { name })}</summary>
      {opened && (
        <Fields
          api={api}
          fields={fieldsOf(api, inner.schema)}
          within={known === undefined ? within : [...within, known]}
        />
      )}
    </details>
  );
}
