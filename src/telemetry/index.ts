export { createLog } from './logger.ts'
export { createMetrics } from './registry.ts'
export type { Metrics } from './registry.ts'
