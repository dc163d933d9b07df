import { isUser, type StoredMessage } from "../../../lib/chat/model.ts";
import { type Answer, historyOf, type Model, nameOf, type Sender, snapshot } from "./state.ts";
import { apply, arrive, replayOf, type Scene, type Script } from "./steps.ts";

/** What is wrong with a state; `isUndecidable`: no rule could have told better. */
export interface Finding {
  what: string;
  isUndecidable: boolean;
}

/** The state after every sender has died and the sweep has had the last word. Undefined: it never comes to rest. */
function atRest(m: Model, scene: Scene): Model | undefined {
  let rest: Model = { ...m, actors: m.actors.filter(({ kind }) => kind === "sender") };
  for (const turn of m.late) rest = arrive(rest, turn, scene.script);
  rest = { ...rest, leaseOver: true, lagOver: true, settled: true };
  for (let round = 0; round < 8; round++) {
    const { model } = apply(rest, { chat: snapshot(rest), history: historyOf(rest) }, scene.clauses);
    if (nameOf(model) === nameOf(rest)) return rest;
    rest = model;
  }
  return undefined;
}

/** The same text, as people would say. */
const plain = (text: string | undefined) => (text ?? "").normalize("NFC").replace(/\s+/g, " ").trim();

/** Who spoke: a turn, a stranger, or somebody before. */
const speakerOf = ({ message_id = "" }: { message_id?: string }) => message_id.replace(/^(own|theirs|reply)-/, "");

/**
 * What no rule can tell, and only that. Somebody who is not one of our turns on time (an outsider: a stranger, or a turn
 * that Retell showed only after the wait for it) must have spoken, and reads as a turn does that Retell may have.
 */
class Doubt {
  private readonly m: Model;
  private readonly script: Script;
  private readonly outsiders: string[];

  constructor(m: Model, script: Script) {
    this.m = m;
    this.script = script;
    const strangers = m.retell
      .filter(isUser)
      .map(speakerOf)
      .filter((name) => script[name] && !isTurn(m, name));
    // A refused turn needs an equal text: replaced by a guardrail it is nobody's.
    const unreadable = Object.keys(m.truth.fates).filter(
      (turn) => m.truth.fates[turn] === "refusedTook" && this.isMasked(turn),
    );
    this.outsiders = [...strangers, ...m.truth.afterwards, ...unreadable];
  }

  /** Whether a turn can be taken for an outsider, or an outsider for it. */
  of(turn: string): boolean {
    // Retell refused it, took it all the same, and shows another text: no equal text says so.
    if (this.isMasked(turn) && this.m.truth.fates[turn] === "refusedTook") return true;
    // Nothing but its place tells a message that a guardrail has replaced: from one that was given up, and may arrive; from
    // one that is known, and was removed.
    if (this.isMasked(turn) && (this.m.cut > 0 || this.isBesideGivenUp(turn))) return true;
    return this.outsiders.some((outsider) => this.between(outsider, turn));
  }

  /** Whether what an outsider said may be a refused turn whose text was replaced. */
  isRefusedBesideOthers(turn: string): boolean {
    return this.m.truth.fates[turn] === "refused" && this.outsiders.length > 0;
  }

  private between(outsider: string, turn: string): boolean {
    const { fates } = this.m.truth;
    if (outsider === turn)
      return this.outsiders.some((other) => other !== turn && this.between(other, turn)) || this.hasTwin(turn);
    const [one, other] = [plain(this.script[outsider]?.kept), plain(this.script[turn]?.sent)];
    if (this.m.truth.written.includes(turn)) {
      if (fates[turn] === "unsent") return false;
      const own = this.m.messages.find((x) => isUser(x) && x.internal?.turn === turn);
      if (fates[turn] === "refused") return !own?.internal?.failed && one === other;
    }
    if (one === other || this.isMasked(turn) || this.isMasked(outsider)) return true;
    // A text of nobody's may be what a guardrail made of a message that Retell does not show otherwise.
    const isThere = (name: string) => this.m.retell.some((entry) => isUser(entry) && speakerOf(entry) === name);
    const isAwaited = (name: string) => !isThere(name) && fates[name] !== "unsent" && fates[name] !== "refused";
    const isPunctual = isThere(turn) && !this.outsiders.includes(turn);
    return !isPunctual && !this.begunBefore(turn).some((earlier) => isAwaited(earlier) && this.says(earlier, one));
  }

  private isBesideGivenUp(turn: string): boolean {
    const { written } = this.m.truth;
    return this.m.messages.some(
      (x) => x.internal?.failed && x.internal.turn !== turn && !written.includes(x.internal.turn ?? ""),
    );
  }

  /** Two turns of one text, one of which came after the wait. */
  private hasTwin(turn: string): boolean {
    const { fates } = this.m.truth;
    return Object.keys(fates).some((other) => other !== turn && this.between(turn, other));
  }

  private begunBefore(turn: string): string[] {
    const begun = this.m.messages.filter(({ internal }) => internal?.hasLocalId && internal.turn).map(speakerOf);
    return begun.slice(0, begun.indexOf(turn));
  }

  private says(name: string, text: string): boolean {
    return plain(this.script[name]?.sent) === text;
  }

  private isMasked(name: string): boolean {
    return plain(this.script[name]?.kept) !== plain(this.script[name]?.sent);
  }
}

const isTurn = (m: Model, name: string) => m.actors.some((actor) => actor.kind === "sender" && actor.turn === name);

/** What is wrong with a state if nobody did anything any more but the sweep. */
export function findings(state: Model, scene: Scene): Finding[] {
  const found: Finding[] = [];
  const m = atRest(state, scene);
  if (!m) return [{ what: "the sweep never comes to rest", isUndecidable: false }];
  const doubt = new Doubt(m, scene.script);
  const report = (what: string, isUndecidable = false) => found.push({ what, isUndecidable });

  if (m.turn) report("a turn stays open");
  if (m.over !== (m.status === "ended")) report(`ended at Retell: ${m.over}, here: ${m.status}`);

  const { blocks, strays } = blocksOf(m.messages);
  for (const stray of strays) report(`${stray} stands alone`);
  // Whose words each message is taken for, and whose they are.
  for (const { turn, speaker } of blocks) {
    if (turn && speaker && turn !== speaker) report(`${speaker} is taken for ${turn}`, doubt.of(turn));
    if (!turn && speaker && isTurn(m, speaker)) {
      report(`${speaker} is taken for nobody's`, doubt.of(speaker));
    }
  }

  // What Retell has, once and in its order. What was said by others, or shown late, may stand at the end.
  const theirs = m.retell.filter(isUser).map(speakerOf);
  const ours = blocks.flatMap(({ turn, speaker }) => speaker ?? turn ?? []);
  const some = (list: string[]) => [...list].sort().join(" ");
  if (some(ours) !== some(theirs)) {
    const wrong = new Set([...ours, ...theirs].filter((x) => count(ours, x) !== count(theirs, x)));
    report(
      `ours: ${ours.join(" ")} | Retell's: ${theirs.join(" ")}`,
      [...wrong].filter((name) => isTurn(m, name)).every((name) => doubt.of(name)),
    );
  }
  const isPunctual = (name: string) => isTurn(m, name) && !m.truth.afterwards.includes(name) && !doubt.of(name);
  const [a, b] = [ours, theirs].map((list) => list.filter(isPunctual).join(" "));
  if (some(ours) === some(theirs) && a !== b) report(`order: ours ${a} | Retell's ${b}`, false);

  for (const x of m.messages) {
    const turn = x.internal?.undecided ? x.internal.turn : undefined;
    if (turn) report(`${turn} is undecided`, doubt.of(turn) || doubt.isRefusedBesideOthers(turn));
  }

  const senders = m.actors.filter((actor) => actor.kind === "sender");
  for (const key of new Set(senders.map((sender) => sender.key))) {
    const turns = senders.filter((sender) => sender.key === key).map(({ turn }) => turn);
    const sent = turns.filter((turn) => theirs.includes(turn));
    const isInDoubt = turns.some((turn) => doubt.of(turn));
    if (sent.length > 1) report(`${key} is doubled`, isInDoubt || m.truth.again.includes(key));
    const wasTold = senders.some((sender) => sender.key === key && answerOf(sender)?.code === "200");
    if (wasTold && sent.length === 0) report(`${key} is lost`, isInDoubt);
  }
  for (const sender of senders) tell(m, sender, doubt, report);
  return found;
}

const count = (list: string[], one: string) => list.filter((x) => x === one).length;

interface Block {
  /** The turn that a message is taken for. */
  turn: string | undefined;
  /** Who said it at Retell, as far as it shows. */
  speaker: string | undefined;
}

/** Delivered user messages, each with the words of the agent that are taken for its answer. */
function blocksOf(messages: readonly StoredMessage[]): { blocks: Block[]; strays: string[] } {
  const blocks: Block[] = [];
  const strays: string[] = [];
  for (const x of messages) {
    if (!isUser(x) || x.internal?.failed) continue;
    const turn = x.internal?.turn;
    const isOwn = x.message_id?.startsWith("own-");
    blocks.push({ turn, speaker: isOwn ? undefined : speakerOf(x) });
  }
  for (const [i, x] of messages.entries()) {
    if (x.role !== "agent") continue;
    const speaker = speakerOf(x);
    const turn = x.internal?.turn;
    const block = turn
      ? blocks.find((one) => one.turn === turn)
      : (blocks.find((one) => one.speaker === speaker && !one.turn) ?? blocks.find((one) => one.turn === speaker));
    if (!block) strays.push(`${x.content}, at ${i},`);
    else if (block.speaker && block.speaker !== speaker) strays.push(`${x.content}, after ${block.speaker},`);
    else block.speaker = speaker;
  }
  return { blocks, strays };
}

/** What a client was told must be so, and whoever is told again is told the same. */
function tell(m: Model, sender: Sender, doubt: Doubt, report: (what: string, isUndecidable?: boolean) => void): void {
  const { key } = sender;
  const told = answerOf(sender);
  if (told?.code !== "200" || !told.turn) return;
  const replay = replayOf(m, told.turn);
  if (same(told) !== same(replay))
    report(
      `${key} was told ${same(told)}, its repeat ${same(replay)}`,
      doubt.of(told.turn) && (told.status === replay.status || told.words !== `re ${told.turn}`),
    );
  if (told.words && told.words !== `re ${told.turn}`) report(`${key} was told ${told.words}`, doubt.of(told.turn));
}

/** What a client has been told; before that its sender may still die. */
export const answerOf = ({ at, told }: Sender) => (at === "over" ? told : undefined);

const same = ({ turn, words, status }: Answer) => `${turn}: ${words}, ${status}`;
