type Choice = "system" | "light" | "dark";

/** Light or dark: as the system has it, until somebody chooses. */
export class Theme {
  choice = $state<Choice>(remembered());
  #system = $state(matchMedia("(prefers-color-scheme: dark)").matches);
  dark = $derived(this.choice === "system" ? this.#system : this.choice === "dark");

  listen(): () => void {
    const query = matchMedia("(prefers-color-scheme: dark)");
    const follow = () => (this.#system = query.matches);
    query.addEventListener("change", follow);
    return () => query.removeEventListener("change", follow);
  }

  toggle(): void {
    this.choice = this.dark ? "light" : "dark";
    try {
      localStorage.setItem("cutaway-theme", this.choice);
    } catch {
      // A page from a file may not be allowed to remember.
    }
  }
}

function remembered(): Choice {
  try {
    const found = localStorage.getItem("cutaway-theme");
    return found === "light" || found === "dark" ? found : "system";
  } catch {
    return "system";
  }
}
