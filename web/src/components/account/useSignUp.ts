import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError } from "../../api/client";
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

/** How one comes to an account: the form, the work that comes first, the place in line, and the letter. */
export function useSignUp() {
  const mail = useSession((state) => state.mail);
  const [invitation, setInvitation] = useInvitation();
  const place = usePlace("form");
  const [writtenTo, setWrittenTo] = useState<string | null>(null);
  const [proof, setProof] = useState<number | null>(null);
  const [cancelled, setCancelled] = useState(false);
  // The server may have begun to send letters since the page was loaded.
  const [emailAsked, setEmailAsked] = useState(false);
  const email = mail || emailAsked;
  const working = useRef(new AbortController());
  useEffect(() => () => working.current.abort(), []);

  const ask = async ({ name, email: address, password }: Values) => {
    working.current = new AbortController();
    const { signal } = working.current;
    setCancelled(false);
    const user = { name: name.trim(), password, ...(email ? { email: address.trim() } : {}) };
    const shown = {
      ...(invitation === null ? {} : { invitation }),
      ...(place.ticket === null ? {} : { place: place.ticket }),
    };
    try {
      const answer = await register(user, shown, { signal, onProgress: setProof });
      if (answer === null || signal.aborted) return;
      if ("mailed" in answer) setWrittenTo(address.trim());
      else place.take(answer.waiting);
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
  const submit = useSubmit((values) => found(newUserProblems(values, email)), ask);
  const { refusal, again } = submit;

  // Where there was no place, it is tried again by itself, unless what would be sent is being changed.
  const trying = useRef<ReturnType<typeof setTimeout>>(undefined);
  useEffect(() => {
    if (refusal?.problem !== "noPlace" || refusal.wait_s === null) return;
    trying.current = setTimeout(again, (refusal.wait_s + AFTER_S) * 1000);
    return () => clearTimeout(trying.current);
  }, [refusal, again]);

  const calledUp = place.waiting?.called_up === true;
  // Whose password is still in the form need do nothing.
  const passwordKept = useCallback(
    () => submit.form.ref.current?.querySelector<HTMLInputElement>('input[name="password"]')?.value !== "",
    [submit.form.ref],
  );
  useEffect(() => {
    if (!calledUp) return;
    if (passwordKept()) again();
    else submit.form.ref.current?.querySelector<HTMLInputElement>('input[name="password"]')?.focus();
  }, [calledUp, passwordKept, again, submit.form.ref]);

  return {
    ...submit,
    form: {
      ...submit.form,
      onInput: (event: React.FormEvent<HTMLFormElement>) => {
        const { name, value } = event.target as HTMLInputElement;
        rememberDraftOfNewcomer(name, value);
        clearTimeout(trying.current);
        submit.form.onInput(event);
      },
    },
    email,
    place,
    calledUp,
    invitation,
    dropInvitation: () => setInvitation(null),
    proof,
    cancelled,
    cancel: () => {
      setCancelled(true);
      working.current.abort(new DOMException("cancelled", "AbortError"));
    },
    writtenTo,
    writeAgain: () => setWrittenTo(null),
  };
}
