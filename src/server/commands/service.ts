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
import { BearerToken } from '../bearer-token.ts'
import type { GrpcService } from '../grpc-server.ts'
import { statusOf } from '../grpc-status.ts'
import type { Peers } from '../peers.ts'
import { type BackendCommand, readCommand, type RequestGuildMembers } from './command.ts'
import type { Commands } from './commands.ts'
import type { CommandsDefinition } from './definition.ts'

export interface CommandsServiceDeps {
  readonly commands: Commands
  readonly definition: CommandsDefinition
  readonly peers: Peers
  /** Null: whoever reaches the listener may send. */
  readonly backendToken: Secret | null
  readonly log: Log
}

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
    },
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
