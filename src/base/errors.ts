/**
 * The one shape of an operating error: a code that has a heading in docs/errors.md, facts as fields,
 * the cause kept. Each room has one subclass with a closed set of codes.
 */
export type ErrorDetails = Readonly<Record<string, unknown>>

export interface ErrorOptionsWithCause {
  readonly cause?: unknown
  /** Whether the same call may succeed later without a human's help. Default false. */
  readonly retryable?: boolean
}

export class BaseError<Code extends string = string> extends Error {
  override readonly name: string = 'BaseError'
  readonly code: Code
  readonly details: ErrorDetails
  readonly retryable: boolean

  /** @param message a sentence for an operator: what happened and the cure. Never holds a secret. */
  constructor(
    code: Code,
    message: string,
    details: ErrorDetails = {},
    options: ErrorOptionsWithCause = {},
  ) {
    super(
      `[${code}] ${message}`,
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.code = code
    this.details = details
    this.retryable = options.retryable ?? false
  }
}

/** The message of anything that was thrown, for a log field. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === '') {
    return error.errors.map(messageOf).join('; ')
  }
  return error instanceof Error ? error.message : String(error)
}
