// What a dashboard of ours may hold: Grafana's own types, narrowed to the panels and queries that we use.
import type { AnnotationQuery, Dashboard, DataSourceRef, FieldConfigSource, GraphFieldConfig, Panel, RowPanel } from "@grafana/schema";
import type { Options as StatOptions } from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import type { Options as BarGaugeOptions } from "@grafana/schema/dist/types/raw/composable/bargauge/panelcfg/x/types.gen";
import type { Options as TimeSeriesOptions } from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

export interface PrometheusQuery {
  refId: string;
  datasource: DataSourceRef;
  editorMode: "code";
  expr: string;
  legendFormat: string;
  instant: boolean;
  range: boolean;
}

interface QueryPanel<TType extends string, TOptions, TField>
  extends Omit<Panel, "type" | "options" | "fieldConfig" | "targets"> {
  id: number;
  title: string;
  description: string;
  type: TType;
  options: TOptions;
  fieldConfig: FieldConfigSource<TField>;
  targets: PrometheusQuery[];
}

export type StatPanel = QueryPanel<"stat", StatOptions, Record<string, never>>;
export type BarGaugePanel = QueryPanel<"bargauge", BarGaugeOptions, Record<string, never>>;
export type TimeSeriesPanel = QueryPanel<"timeseries", TimeSeriesOptions, GraphFieldConfig>;

interface PrometheusAnnotation extends Omit<AnnotationQuery, "target"> {
  target?: { refId: string; expr: string };
  titleFormat?: string;
  textFormat?: string;
}

export interface GradclinicDashboard extends Omit<Dashboard, "annotations" | "panels"> {
  annotations: { list: PrometheusAnnotation[] };
  panels: Array<StatPanel | BarGaugePanel | TimeSeriesPanel | RowPanel>;
}
