import { BaseError } from '../base/index.ts'

/** Every code of the room: what it means and what to do. docs/errors.md is made from this table. */
export const CONSUMER_ERRORS = {
  CONSUMER_BAD_OPTION:
    'A consumer was given an option that makes no sense. The message names the option and what may stand there.',
  CONSUMER_UNREACHABLE:
    'The Redis or the gateway that a consumer reads from did not answer at its start. Check the address, that the server runs and that this host may connect; after a first success the consumer tries on for good.',
  CONSUMER_REFUSED:
    'Redis or the gateway answered a consumer and refuses it: the login, the rights of the user, or the request. Trying again would not help; the message has the answer.',
  CONSUMER_BAD_PAYLOAD:
    'A payload is neither an external term nor JSON, or it is cut. The event was handed to onFailed with its bytes and confirmed, so that it does not come again.',
  CONSUMER_COMMAND_REFUSED:
    'What a bot sent by DiscordjsGateway.send() was not handed to Discord. The message has the code and the sentence of the gateway; details.waitMs says after how many ms another attempt makes sense, 0: none does.',
} as const

export type ConsumerErrorCode = keyof typeof CONSUMER_ERRORS

/** What goes wrong on the bot team's side of a destination. docs/errors.md#consumer */
export class ConsumerError extends BaseError<ConsumerErrorCode> {
  override readonly name = 'ConsumerError'
}
