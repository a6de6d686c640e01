/** One option of a program: its flag, environment variable, default and sentence come from here alone. */
export interface Option {
  /** Without dashes, as the ancestor writes it: `podId`. */
  readonly flag: string
  readonly aliases?: readonly string[]
  /** Environment variables read after GATEWAY_<FLAG>, in this order. */
  readonly env?: readonly string[]
  /** `switch` takes an optional value: `-prod`, `-prod=1`, `-prod true`. */
  readonly kind: 'text' | 'secret' | 'integer' | 'choice' | 'switch'
  readonly choices?: readonly string[]
  readonly min?: number
  readonly max?: number
  readonly unit?: string
  /** As it would be typed; empty: no default. */
  readonly default: string
  /** One sentence, for -help and docs/config.md. */
  readonly sentence: string
}

/** `-token-file` → `GATEWAY_TOKEN_FILE`. */
export function envName(flag: string): string {
  return `GATEWAY_${flag.toUpperCase().replaceAll('-', '_')}`
}
