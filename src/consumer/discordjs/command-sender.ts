import {
  type ClientReadableStream,
  Metadata,
  type ServiceClientConstructor,
  type ServiceError,
  status,
} from '@grpc/grpc-js'
import type {
  GatewayPresenceUpdateData,
  GatewayRequestGuildMembersData,
  GatewaySendPayload,
  GatewayVoiceStateUpdateData,
} from 'discord-api-types/v10'
import { Opcode } from '../../discord/index.ts'
import { ConsumerError } from '../errors.ts'
import { type GrpcTarget, serviceClient, targetCredentials } from '../grpc/proto-files.ts'

/** gateway.v1.CommandAnswer and GuildMembersAnswer, as proto-loader hands them over. */
interface Answer {
  readonly outcome: string
  readonly code: string
  readonly reason: string
  readonly wait_ms: string
}

type Answers = Answer | { readonly answers: readonly Answer[] }
type Unary = (
  request: object,
  metadata: Metadata,
  done: (error: ServiceError | null, answers?: Answers) => void,
) => void
type MembersCall = (request: object, metadata: Metadata) => ClientReadableStream<Answer>

/** What a bot sends by a shard's websocket, as calls of gateway.v1.Commands. */
export class CommandSender {
  readonly #client: InstanceType<ServiceClientConstructor>
  readonly #metadata = new Metadata()

  constructor(target: GrpcTarget) {
    const Commands = serviceClient('commands.proto', 'gateway.v1.Commands')
    this.#client = new Commands(target.address, targetCredentials(target))
    if (target.token !== undefined) this.#metadata.set('authorization', `Bearer ${target.token}`)
  }

  close(): void {
    this.#client.close()
  }

  /** @throws ConsumerError CONSUMER_COMMAND_REFUSED, CONSUMER_UNREACHABLE */
  async send(shardId: number, payload: GatewaySendPayload): Promise<void> {
    switch (payload.op as number) {
      case Opcode.PresenceUpdate: {
        const presence = presenceOf(payload.d as GatewayPresenceUpdateData)
        return this.#call('UpdatePresence', { presence, shards: [shardId], wait: true })
      }
      case Opcode.VoiceStateUpdate: {
        const { channel_id, ...rest } = payload.d as GatewayVoiceStateUpdateData
        // Absent means: leave.
        const channel = channel_id === null ? {} : { channel_id }
        return this.#call('UpdateVoiceState', { ...rest, ...channel, wait: true })
      }
      case Opcode.RequestGuildMembers:
        return this.#requestMembers(payload.d as GatewayRequestGuildMembersData)
      case Opcode.RequestSoundboardSounds:
        return this.#call('RequestSoundboardSounds', { ...(payload.d as object), wait: true })
      case Opcode.RequestChannelInfo:
        return this.#call('RequestChannelInfo', { ...(payload.d as object), wait: true })
      default:
        throw new ConsumerError(
          'CONSUMER_COMMAND_REFUSED',
          `A bot behind the gateway cannot send op ${payload.op}: heartbeats and sessions are the gateway’s.`,
          { op: payload.op },
        )
    }
  }

  #call(method: string, request: object): Promise<void> {
    const call = this.#client[method] as unknown as Unary
    return new Promise((resolve, reject) => {
      call.call(this.#client, request, this.#metadata, (error, answers) => {
        if (error !== null || answers === undefined) return reject(unreachable(method, error))
        const list = 'answers' in answers ? answers.answers : [answers]
        const refused = list.find(({ outcome }) => outcome === 'REFUSED')
        if (refused === undefined) resolve()
        else reject(refusal(method, refused))
      })
    })
  }

  /** The stream's end is the request's; its first answer says whether Discord will be asked. */
  #requestMembers(data: GatewayRequestGuildMembersData): Promise<void> {
    const method = 'RequestGuildMembers'
    const { user_ids, ...rest } = data as GatewayRequestGuildMembersData & {
      readonly user_ids?: string | readonly string[]
    }
    const userIds = user_ids === undefined ? {} : { user_ids: [user_ids].flat() }
    const call = this.#client[method] as unknown as MembersCall
    const stream = call.call(this.#client, { ...rest, ...userIds }, this.#metadata)
    return new Promise((resolve, reject) => {
      stream.on('data', (answer: Answer) => {
        if (answer.outcome === 'REFUSED') reject(refusal(method, answer))
        else resolve()
      })
      stream.on('error', (error: ServiceError) => reject(unreachable(method, error)))
      stream.on('end', () => resolve())
    })
  }
}

function presenceOf(data: GatewayPresenceUpdateData): object {
  const { since, ...rest } = data
  return since === null ? rest : { ...rest, since }
}

function refusal(method: string, { code, reason, wait_ms }: Answer): ConsumerError {
  return new ConsumerError(
    'CONSUMER_COMMAND_REFUSED',
    `The gateway refuses ${method}: ${reason} (${code})`,
    { method, code, waitMs: Number(wait_ms) },
    { retryable: Number(wait_ms) > 0 },
  )
}

/** What no command could mean, a missing token, an older gateway: refused. Anything else may pass. */
const REFUSED: ReadonlySet<number> = new Set([
  status.INVALID_ARGUMENT,
  status.UNAUTHENTICATED,
  status.PERMISSION_DENIED,
  status.UNIMPLEMENTED,
])

function unreachable(method: string, error: ServiceError | null): ConsumerError {
  const details = error?.details ?? 'no answer'
  if (error !== null && REFUSED.has(error.code)) {
    const message = `The gateway refuses ${method}: ${details}`
    return new ConsumerError('CONSUMER_COMMAND_REFUSED', message, { method }, { cause: error })
  }
  return new ConsumerError(
    'CONSUMER_UNREACHABLE',
    `The gateway did not answer ${method}: ${details}`,
    { method },
    { cause: error, retryable: true },
  )
}
