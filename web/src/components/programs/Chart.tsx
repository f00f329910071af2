import { type PointerEvent, type ReactNode, useState } from "react";
import { useTranslation } from "react-i18next";

export interface ChartColumn {
  key: number;
  /** What the column is of, as the table and the axis say it. */
  label: string;
  short: string;
  /** The heights of its parts, from below, one for each series. */
  values: readonly number[];
  /** The same as one reads them. */
  texts: readonly string[];
  total: string;
}

interface Props {
  title: string;
  /** What a column is of. */
  unit: string;
  series: readonly string[];
  columns: readonly ChartColumn[];
  /** The end of the scale, its half and its beginning, as one reads them. */
  scale: readonly [string, string, string];
  top: number;
}

/** Stacked bars, with the same numbers in a table: who can't see the one has the other. */
export function Chart({ title, unit, series, columns, scale, top }: Props) {
  const { t } = useTranslation("programs");
  const [at, setAt] = useState<number | null>(null);
  const pointed = at === null ? undefined : columns[at];
  const point = (event: PointerEvent<SVGSVGElement>) => {
    const { left, width } = event.currentTarget.getBoundingClientRect();
    const index = Math.floor(((event.clientX - left) / Math.max(1, width)) * columns.length);
    setAt(Math.min(columns.length - 1, Math.max(0, index)));
  };
  const middle = columns[Math.floor(columns.length / 2)];
  return (
    <figure className="chart">
      <figcaption className="chart-head">
        <h3>{title}</h3>
        <span className="chart-pointed" aria-hidden="true">
          {pointed !== undefined && `${pointed.label}: ${pointed.total}`}
        </span>
      </figcaption>
      <div className="chart-plot" aria-hidden="true">
        <div className="chart-scale">
          {scale.map((mark, index) => (
            <span key={["top", "half", "zero"][index]}>{mark}</span>
          ))}
        </div>
        <svg
          className="chart-bars"
          aria-hidden="true"
          onPointerMove={point}
          onPointerDown={point}
          onPointerLeave={() => setAt(null)}
        >
          {["0.5", "50%", "99.7%"].map((y) => (
            <line key={y} className="chart-line" x1="0" x2="100%" y1={y} y2={y} />
          ))}
          {at !== null && <rect className="chart-at" height="100%" {...place(at, columns.length, 1)} />}
          {columns.map((column, index) => (
            <Bar key={column.key} values={column.values} top={top} {...place(index, columns.length, 0.72)} />
          ))}
        </svg>
        <div className="chart-days">
          <span>{columns[0]?.short}</span>
          <span>{middle?.short}</span>
          <span>{columns.at(-1)?.short}</span>
        </div>
      </div>
      <ul className="chart-series" aria-hidden="true">
        {series.map((name, index) => (
          <li key={name}>
            <span className={`chart-key series-${index + 1}`} />
            {name}
            {pointed !== undefined && <span className="chart-number">{pointed.texts[index]}</span>}
          </li>
        ))}
      </ul>
      <details className="numbers">
        <summary>{t("chart.table")}</summary>
        <Numbers title={title} unit={unit} series={series} columns={columns} />
      </details>
    </figure>
  );
}

/** Where a column stands, of which its bar takes a part of the width. */
function place(index: number, count: number, part: number): { x: string; width: string } {
  const percent = (share: number) => `${((share / count) * 100).toFixed(3)}%`;
  return { x: percent(index + (1 - part) / 2), width: percent(part) };
}

function Bar({
  values,
  top,
  x,
  width,
}: {
  values: readonly number[];
  top: number;
  x: string;
  width: string;
}) {
  let below = 0;
  return values.map((value, index) => {
    const height = (value / top) * 100;
    below += height;
    return (
      value > 0 && (
        <rect
          // biome-ignore lint/suspicious/noArrayIndexKey: the series are these, in this order
          key={index}
          className={`series-${index + 1}`}
          x={x}
          width={width}
          y={`${(100 - below).toFixed(3)}%`}
          height={`${height.toFixed(3)}%`}
        />
      )
    );
  });
}

function Numbers({ title, unit, series, columns }: Omit<Props, "scale" | "top">) {
  const { t } = useTranslation("programs");
  const told = columns.filter(({ values }) => values.some((value) => value > 0));
  return (
    <ScrollTable label={title}>
      <thead>
        <tr>
          <th scope="col">{unit}</th>
          {series.map((name) => (
            <th key={name} scope="col" className="number">
              {name}
            </th>
          ))}
          <th scope="col" className="number">
            {t("usage.total")}
          </th>
        </tr>
      </thead>
      <tbody>
        {told.map(({ key, label, texts, total }) => (
          <tr key={key}>
            <th scope="row">{label}</th>
            {series.map((name, index) => (
              <td key={name} className="number">
                {texts[index]}
              </td>
            ))}
            <td className="number">{total}</td>
          </tr>
        ))}
      </tbody>
    </ScrollTable>
  );
}

/** A table that scrolls by itself where it is wider than the page. */
export function ScrollTable({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/useSemanticElements: a fieldset is for fields
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div className="table-scroll" role="group" tabIndex={0} aria-label={label}>
      <table className="table">{children}</table>
    </div>
  );
}
