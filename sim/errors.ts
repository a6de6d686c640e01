import { BaseError } from '../src/base/index.ts'

/** What each code means and what to do; docs/errors.md is made of these tables. */
export const SIM_ERRORS = {
  SIM_BAD_OPTION:
    'A flag or option of the simulator has a value it cannot have, or a name it does not know. The message names the nearest one.',
  SIM_BAD_PAYLOAD:
    'A client sent the simulator a payload that Discord would answer with close code 4002. The message says what is wrong with it.',
  SIM_BAD_FAULT:
    'A fault was asked for that the simulator does not know, or with a field that is missing or of the wrong kind.',
  SIM_NO_SESSION: 'A fault names a shard or a session that has no live session or connection.',
} as const

export class SimError extends BaseError<keyof typeof SIM_ERRORS> {
  override readonly name = 'SimError'
}
