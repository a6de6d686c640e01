/** `gateway.v1.Commands` for the gateway's gRPC listener; see proto/commands.proto. */
import {
  type handleServerStreamingCall,
  type handleUnaryCall,
  type Metadata,
  type sendUnaryData,
  type ServerUnaryCall,
  type ServerWritableStream,
} from '@grpc/grpc-js'
import type { Log, Secret } from '../../base/index.ts'
import { shardOfGuild } from '../../discord/index.ts'
import { BearerToken } from '../bearer-token.ts'
import { ServerError } from '../errors.ts'
import type { GrpcService } from '../grpc-server.ts'
import { statusOf } from '../grpc-status.ts'
import type { Peers } from '../peers.ts'
import { type BackendCommand, readCommand, type RequestGuildMembers } from './command.ts'
import type { Commands } from './commands.ts'
import type { CommandsDefinition } from './definition.ts'
import { Fields } from './fields.ts'

export interface CommandsServiceDeps {
  readonly commands: Commands
  readonly definition: CommandsDefinition
  readonly peers: Peers
  /** Null: whoever reaches the listener may send. */
  readonly backendToken: Secret | null
  readonly voice: VoiceConnections
  readonly log: Log
}

/** Both events as JSON; the cache's reader has this shape. */
interface KeptVoice {
  readonly guildId: bigint
  readonly state: Buffer
  readonly server: Buffer
  readonly updatedAtMs: number
}

/** The bot's voice connections, from the database: any worker has those of the fleet. */
interface VoiceConnections {
  /** @param guildIds none: of every guild. */
  read(guildIds: readonly bigint[]): AsyncIterable<KeptVoice>
}

/** Guilds of one GetVoiceConnections. */
const VOICE_GUILDS_MAX = 1000

type Unary = handleUnaryCall<object, object>
type Streaming = handleServerStreamingCall<object, object>

export function commandsService(deps: CommandsServiceDeps): GrpcService {
  const { commands, definition, peers, backendToken, log } = deps
  const token = backendToken === null ? null : new BearerToken(backendToken)

  /** @throws ServerError SERVER_UNAUTHORIZED */
  function authorize(metadata: Metadata): void {
    const [authorization] = metadata.get('authorization')
    token?.require(authorization?.toString())
  }

  function unary(
    name: Exclude<BackendCommand['name'], 'RequestGuildMembers'>,
    isOne: boolean,
  ): Unary {
    const handle = async (call: ServerUnaryCall<object, object>): Promise<object> => {
      authorize(call.metadata)
      const command = readCommand(name, call.request, commands.shardCount)
      const answers = await commands.run(command as Exclude<BackendCommand, RequestGuildMembers>, {
        isPassed: peers.isForSelf(call.metadata),
        signal: signalOf(call),
      })
      return isOne ? answers[0]! : { answers }
    }
    return (call, respond: sendUnaryData<object>) => {
      handle(call).then(
        (answer) => respond(null, answer),
        (error: unknown) => respond(statusOf(error, call.getPath(), log)),
      )
    }
  }

  const members: Streaming = (call) => {
    const handle = async (): Promise<void> => {
      authorize(call.metadata)
      const command = readCommand('RequestGuildMembers', call.request, commands.shardCount)
      // A few dozen bytes for each 1,000 members: nobody is too slow for them.
      const onAnswer = (answer: object): void => void call.write(answer)
      await commands.requestMembers(command as RequestGuildMembers, onAnswer, {
        isPassed: peers.isForSelf(call.metadata),
        signal: signalOf(call),
      })
    }
    handle().then(
      () => call.end(),
      (error: unknown) => call.emit('error', statusOf(error, call.getPath(), log)),
    )
  }

  const voice: Streaming = (call) => {
    const handle = async (): Promise<void> => {
      if (token === null) {
        throw new ServerError(
          'SERVER_VOICE_CLOSED',
          'Voice connections hold a secret: they are served only with -backend-token.',
        )
      }
      authorize(call.metadata)
      const fields = new Fields(call.request, ['guild_ids'], 'GetVoiceConnections')
      const guildIds = fields.ids('guild_ids', VOICE_GUILDS_MAX)
      const gone = signalOf(call)
      for await (const one of deps.voice.read(guildIds)) {
        if (gone.aborted) return
        call.write(voiceMessage(one, commands.shardCount))
      }
    }
    handle().then(
      () => call.end(),
      (error: unknown) => call.emit('error', statusOf(error, call.getPath(), log)),
    )
  }

  return {
    name: definition.name,
    definition: definition.service,
    protoFile: definition.protoFile,
    implementation: {
      UpdatePresence: unary('UpdatePresence', false),
      UpdateVoiceState: unary('UpdateVoiceState', true),
      RequestGuildMembers: members,
      RequestSoundboardSounds: unary('RequestSoundboardSounds', false),
      RequestChannelInfo: unary('RequestChannelInfo', true),
      GetVoiceConnections: voice,
    },
  }
}

function voiceMessage(
  { guildId, state, server, updatedAtMs }: KeptVoice,
  shardCount: number,
): object {
  const { channel_id, user_id, session_id } = JSON.parse(state.toString()) as Record<string, string>
  const { token, endpoint } = JSON.parse(server.toString()) as Record<string, string | null>
  return {
    guild_id: guildId.toString(),
    shard: shardOfGuild(guildId, shardCount),
    channel_id,
    user_id,
    session_id,
    token,
    endpoint: endpoint ?? '',
    voice_state_update: state,
    voice_server_update: server,
    updated_at: updatedAtMs,
  }
}

/** Aborted when the caller has cancelled, or its deadline has passed. */
function signalOf(
  call: ServerUnaryCall<object, object> | ServerWritableStream<object, object>,
): AbortSignal {
  const gone = new AbortController()
  call.on('cancelled', () => gone.abort())
  return gone.signal
}
