import { ChevronDown } from "lucide-react";
import { useMemo } from "react";
import { useTranslation } from "react-i18next";
import type { Model } from "../api/types";
import { bytesText, contextText, countText } from "../i18n/format";
import { chooseModel, currentModel, useStore } from "../state/store";
import { Menu, MenuChoices } from "./Menu";

export function ModelPicker() {
  const { t } = useTranslation();
  const models = useStore((state) => state.models);
  const modelsState = useStore((state) => state.modelsState);
  const current = useStore(currentModel);
  const installed = useMemo(() => models.filter((model) => model.installed), [models]);
  if (current === null) {
    return (
      <span className="model-none">
        {modelsState === "ready" ? t("model.none") : modelsState === "loading" ? t("model.loading") : ""}
      </span>
    );
  }
  return (
    <Menu
      trigger={
        <button
          type="button"
          className="model-button"
          aria-label={t("model.label", { title: current.title })}
        >
          <span className="truncate">{current.title}</span>
          <ChevronDown size={16} aria-hidden className="shrink-0" />
        </button>
      }
    >
      <MenuChoices
        label={t("model.choose")}
        value={current.name}
        onChoose={(name) => void chooseModel(name)}
        choices={installed.map((model) => ({ value: model.name, content: <ModelLine model={model} /> }))}
      />
    </Menu>
  );
}

function ModelLine({ model }: { model: Model }) {
  const { t, i18n } = useTranslation();
  const facts = [
    model.parameters > 0 ? t("model.parameters", { number: countText(model.parameters) }) : null,
    t("model.size", { size: bytesText(model.bytes, i18n.language) }),
    model.context > 0 ? t("model.context", { tokens: contextText(model.context) }) : null,
    model.thinking === "none" ? null : t("model.thinks"),
  ];
  return (
    <>
      <span className="block font-medium">{model.title}</span>
      <span className="menu-facts">{facts.filter((fact) => fact !== null).join(" · ")}</span>
    </>
  );
}
