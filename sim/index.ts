export { selfSigned } from './certificate.ts'
export { SIM_ERRORS, SimError } from './errors.ts'
export { FAULTS } from './faults.ts'
export type { FaultRequest } from './faults.ts'
export type {
  EndCause,
  Ledger,
  LedgerClose,
  LedgerEnd,
  LedgerEvent,
  LedgerGap,
  LedgerIdentify,
  LedgerResume,
} from './ledger.ts'
export { defaultOptions, LIBERTIES, OPTIONS } from './options.ts'
export type { SimOptions } from './options.ts'
export { startSim } from './sim.ts'
export type { Sim, SimDependencies, SimStats } from './sim.ts'
export type { SimWorld } from './sim-world.ts'
export { MUTATION_KINDS, World } from './world/index.ts'
export type { ClientView, JsonObject } from './world/index.ts'
export { createCompressor } from './wire/compressor.ts'
export { frameOf } from './wire/frame.ts'
