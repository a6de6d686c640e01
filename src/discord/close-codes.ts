/**
 * What a close code means for the session. See [Discord Docs/Opcodes and Status Codes#gateway-close-event-codes].
 * The docs give only "reconnect: yes or no"; whether a reconnect resumes or identifies anew is ours
 * where the text is silent.
 */

/** `resume`: the session lives. `identify`: it is gone, start a new one. `stop`: a human must act. */
export type CloseAction = 'resume' | 'identify' | 'stop'

export interface CloseCode {
  readonly code: number
  readonly name: string
  readonly action: CloseAction
  /** What an operator should do; empty where the program heals by itself. */
  readonly cure: string
}

export const CLOSE_CODES: readonly CloseCode[] = [
  { code: 4000, name: 'unknown error', action: 'resume', cure: '' },
  { code: 4001, name: 'unknown opcode', action: 'resume', cure: '' },
  { code: 4002, name: 'decode error', action: 'resume', cure: '' },
  { code: 4003, name: 'not authenticated', action: 'identify', cure: '' },
  {
    code: 4004,
    name: 'authentication failed',
    action: 'stop',
    cure: 'Discord refuses the token. Copy it again from the Developer Portal (Bot > Reset Token) and give it by -token, -token-file or DISCORD_TOKEN.',
  },
  { code: 4005, name: 'already authenticated', action: 'resume', cure: '' },
  { code: 4007, name: 'invalid seq', action: 'identify', cure: '' },
  { code: 4008, name: 'rate limited', action: 'resume', cure: '' },
  { code: 4009, name: 'session timed out', action: 'identify', cure: '' },
  {
    code: 4010,
    name: 'invalid shard',
    action: 'stop',
    cure: 'The shard id or the shard count is wrong. Above 150,000 guilds the count must be a multiple of the number Discord gives: leave -shards away to use its recommendation.',
  },
  {
    code: 4011,
    name: 'sharding required',
    action: 'stop',
    cure: 'A shard would hold more than 2,500 guilds. Raise -shards, or leave it away to use the count that Discord recommends.',
  },
  {
    code: 4012,
    name: 'invalid API version',
    action: 'stop',
    cure: 'Discord no longer serves this API version. Upgrade the gateway.',
  },
  {
    code: 4013,
    name: 'invalid intents',
    action: 'stop',
    cure: 'The -intents number has a bit that Discord does not know. Use names or a preset.',
  },
  {
    code: 4014,
    name: 'disallowed intents',
    action: 'stop',
    cure: 'A privileged intent is not enabled for this bot. Enable it in the Developer Portal (Bot > Privileged Gateway Intents) or take it out of -intents.',
  },
]

const BY_CODE: ReadonlyMap<number, CloseCode> = new Map(
  CLOSE_CODES.map((entry) => [entry.code, entry]),
)

/** The table's entry for a code; undefined for the codes that Discord does not define. */
export function closeCode(code: number): CloseCode | undefined {
  return BY_CODE.get(code)
}

/** What to do after the server closed with `code` (1006 for a dropped TCP connection). Unknown codes resume. */
export function closeAction(code: number): CloseAction {
  return BY_CODE.get(code)?.action ?? 'resume'
}

/**
 * The code we close with when the session is to live on. 1000 and 1001 would end it.
 * See [Discord Docs/Gateway#initiating-a-disconnect].
 */
export const RESUMABLE_CLOSE_CODE = 4900
