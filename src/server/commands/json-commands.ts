/**
 * Commands as JSON, for backends that have only Redis:
 *
 *   {"command": "UpdateVoiceState", "id": "7", "reply": "bot:answers", "guild_id": "…", "channel_id": "…"}
 *   {"id": "7", "command": "UpdateVoiceState", "last": true, "answers": [{"shard": 3, "outcome": "DONE"}]}
 *
 * The fields are those of proto/commands.proto.
 */
import { BaseError, type Clock, type Log, messageOf, nearest } from '../../base/index.ts'
import { ServerError } from '../errors.ts'
import { type CommandAnswer, type MembersAnswer, refusalOf } from './answer.ts'
import { COMMAND_NAMES, isCommandName, readCommand } from './command.ts'
import type { Commands } from './commands.ts'
import { bad } from './fields.ts'

export interface JsonCommandsDeps {
  readonly commands: Commands
  readonly clock: Clock
  readonly log: Log
}

/** Text of a command, and of what comes back with its answers. */
const COMMAND_BYTES_MAX = 64 * 1024
const NAME_BYTES_MAX = 512

/** What is left of a command that cannot be read: enough to answer it, if there is an address. */
interface Envelope {
  command: string
  id: unknown
  reply: string | null
}

export class JsonCommands {
  readonly #deps: JsonCommandsDeps

  constructor(deps: JsonCommandsDeps) {
    this.#deps = deps
  }

  /**
   * Reads the text and carries it out. Whatever is wrong with it is answered, or logged where there is no address.
   *
   * @param reply puts an answer into the list that the command names.
   * @returns when it is answered for good.
   */
  async handle(text: string, reply: (key: string, text: string) => void): Promise<void> {
    const envelope: Envelope = { command: '', id: null, reply: null }
    const answer = (answers: readonly (CommandAnswer | MembersAnswer)[], last: boolean): void => {
      const { command, id } = envelope
      if (envelope.reply !== null) {
        reply(envelope.reply, JSON.stringify({ id, command, last, answers }))
      }
    }
    try {
      await this.#run(text, envelope, answer)
    } catch (error) {
      const { log } = this.#deps
      const fields = { command: envelope.command, error: messageOf(error) }
      if (!(error instanceof BaseError)) log.error('a command failed', fields)
      else if (envelope.reply === null) log.warn('a command without a reply was refused', fields)
      answer([{ shard: -1, ...refusalOf(refusable(error)) }], true)
    }
  }

  async #run(
    text: string,
    envelope: Envelope,
    answer: (answers: readonly (CommandAnswer | MembersAnswer)[], last: boolean) => void,
  ): Promise<void> {
    const { commands, clock } = this.#deps
    const { id, reply, command: name, expires_at: expiresAt, ...fields } = readObject(text)
    if (isText(reply)) envelope.reply = reply
    if (isText(id)) envelope.id = id
    if (reply !== undefined && !isText(reply)) throw bad('reply', 'the key of a list')
    if (id !== undefined && !isText(id)) throw bad('id', 'text')
    if (typeof name !== 'string' || !isCommandName(name)) {
      const guess = typeof name === 'string' ? nearest(name, COMMAND_NAMES) : null
      const hint = guess === null ? `one of ${COMMAND_NAMES.join(', ')}` : `${guess}, perhaps`
      throw bad('command', hint)
    }
    envelope.command = name
    if (expiresAt !== undefined && typeof expiresAt !== 'number') {
      throw bad('expires_at', 'ms since the Unix epoch')
    }
    if (expiresAt !== undefined && expiresAt <= clock.now()) {
      throw new ServerError('SERVER_COMMAND_EXPIRED', 'The command came after its expires_at.')
    }
    const command = readCommand(name, fields, commands.shardCount)
    if (command.name !== 'RequestGuildMembers') {
      answer(await commands.run(command), true)
      return
    }
    let told = ''
    await commands.requestMembers(command, (one) => {
      const isLast = one.outcome === 'DONE' || one.outcome === 'REFUSED'
      // Each chunk is a change; a list needs only each step.
      if (!isLast && one.outcome === told) return
      told = one.outcome
      answer([one], isLast)
    })
  }
}

function readObject(text: string): Readonly<Record<string, unknown>> {
  if (Buffer.byteLength(text) > COMMAND_BYTES_MAX) {
    throw bad('the command', `at most ${COMMAND_BYTES_MAX} bytes`)
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw bad('the command', 'JSON')
  }
  if (value === null || typeof value !== 'object' || Array.isArray(value)) {
    throw bad('the command', 'a JSON object')
  }
  return value as Readonly<Record<string, unknown>>
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== '' && Buffer.byteLength(value) <= NAME_BYTES_MAX
}

function refusable(error: unknown): BaseError {
  if (error instanceof BaseError) return error
  return new ServerError('SERVER_INTERNAL', 'The command failed inside the program.')
}
