export { createLog } from './logger.ts'
export { METRICS, renderMetricsDoc } from './metrics.ts'
export { createMetrics } from './registry.ts'
export type { Metrics } from './registry.ts'
