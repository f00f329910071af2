import { type FormEvent, type RefObject, useCallback, useEffect, useRef, useState } from "react";
import { ApiError } from "../../api/client";
import type { Waiting } from "../../api/gate";
import type { Refusal } from "../../state/account";
import { recallInvitation, rememberDraftOfNewcomer, rememberInvitation } from "../../state/newcomer";
import { register } from "../../state/registration";
import { fragmentOf } from "../../state/route";
import { useSession } from "../../state/session";
import { usePlace } from "../gate/usePlace";
import { newUserProblems } from "./NewUserFields";
import { found, useSubmit, type Values } from "./useSubmit";

/** Seconds after the server's own time, so that it has come by its clock too. */
const AFTER_S = 1;

/** The invitation that the address brought along. It is taken out of it, as it is good for an account. */
function useInvitation() {
  const [invitation, setInvitation] = useState(recallInvitation);
  const set = useCallback((ticket: string | null) => {
    rememberInvitation(ticket);
    setInvitation(ticket);
  }, []);
  useEffect(() => {
    const read = () => {
      const { pathname, search, hash } = window.location;
      const given = fragmentOf(hash, "invitation");
      if (given === null) return;
      window.history.replaceState(null, "", pathname + search);
      set(given);
    };
    read();
    window.addEventListener("hashchange", read);
    return () => window.removeEventListener("hashchange", read);
  }, [set]);
  return [invitation, set] as const;
}

/** Sends the form once more by itself where only time is in the way. What it gives ends that, as the form is being changed. */
function useAgain(refusal: Refusal | null, held: Waiting | null, again: () => void): () => void {
  const timer = useRef<ReturnType<typeof setTimeout>>(undefined);
  const full_s = refusal?.problem === "noPlace" ? refusal.wait_s : null;
  const wait_s = held?.ask_again_seconds ?? full_s;
  // Each refusal is an object of its own, as each answer is: two of the same length are two waits.
  // biome-ignore lint/correctness/useExhaustiveDependencies: see above
  useEffect(() => {
    if (wait_s === null) return;
    timer.current = setTimeout(again, (wait_s + AFTER_S) * 1000);
    return () => clearTimeout(timer.current);
  }, [refusal, held, wait_s, again]);
  return useCallback(() => clearTimeout(timer.current), []);
}

/** Once one's place is called up, sends the form, or asks for the password that a reload has taken. */
function useTurn(calledUp: boolean, form: RefObject<HTMLFormElement | null>, again: () => void): void {
  useEffect(() => {
    if (!calledUp) return;
    const password = form.current?.querySelector<HTMLInputElement>('input[name="password"]');
    if (password?.value !== "") again();
    else password.focus();
  }, [calledUp, form, again]);
}

/** How one comes to an account: the form, the work that comes first, the place in line, and the letter. */
export function useSignUp() {
  const mail = useSession((state) => state.mail);
  const [invitation, setInvitation] = useInvitation();
  const place = usePlace("form");
  const [writtenTo, setWrittenTo] = useState<string | null>(null);
  const [proof, setProof] = useState<number | null>(null);
  const [cancelled, setCancelled] = useState(false);
  // One is called up, and yet no accounts are made just now.
  const [held, setHeld] = useState<Waiting | null>(null);
  // The server may have begun to send letters since the page was loaded.
  const [emailAsked, setEmailAsked] = useState(false);
  const email = mail || emailAsked;
  const working = useRef(new AbortController());
  useEffect(() => () => working.current.abort(), []);

  const ask = async ({ name, email: address, password }: Values) => {
    working.current = new AbortController();
    const { signal } = working.current;
    setCancelled(false);
    setHeld(null);
    const user = { name: name.trim(), password, ...(email ? { email: address.trim() } : {}) };
    const shown = {
      ...(invitation === null ? {} : { invitation }),
      ...(place.ticket === null ? {} : { place: place.ticket }),
    };
    try {
      const answer = await register(user, shown, { signal, onProgress: setProof });
      if (answer === null || signal.aborted) return;
      if ("mailed" in answer) return setWrittenTo(address.trim());
      place.take(answer.waiting);
      setHeld(answer.waiting.called_up ? answer.waiting : null);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.code === "email_required") setEmailAsked(true);
      // Once it is told, one may go on without.
      if (error instanceof ApiError && error.code === "invitation_gone") setInvitation(null);
      throw error;
    } finally {
      setProof(null);
    }
  };
  const { form, again, ...submit } = useSubmit((values) => found(newUserProblems(values, email)), ask);
  const calledUp = place.waiting?.called_up === true;
  const stopTrying = useAgain(submit.refusal, held, again);
  useTurn(calledUp, form.ref, again);

  const onInput = (event: FormEvent<HTMLFormElement>) => {
    const { name, value } = event.target as HTMLInputElement;
    rememberDraftOfNewcomer(name, value);
    stopTrying();
    form.onInput(event);
  };
  const cancel = () => {
    setCancelled(true);
    working.current.abort(new DOMException("cancelled", "AbortError"));
  };
  return {
    ...submit,
    form: { ...form, onInput },
    email,
    place,
    calledUp,
    held: held !== null,
    invitation,
    dropInvitation: () => setInvitation(null),
    proof,
    cancelled,
    cancel,
    writtenTo,
    writeAgain: () => setWrittenTo(null),
  };
}
