export { IdentifyBudget } from './identify-budget.ts'
export { MemoryClaims } from './memory-claims.ts'
export { MemoryIdentifyGate } from './memory-identify-gate.ts'
