package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/bucketseal/bucketseal/chaos/checker"
	"github.com/bucketseal/bucketseal/chaos/history"
	"github.com/bucketseal/bucketseal/chaos/nemesis"
)

// summary is what came of a run.
type summary struct {
	Seed       uint64            `json:"seed"`
	Began      time.Time         `json:"began"`
	Duration   string            `json:"duration"`
	Clients    int               `json:"clients"`
	World      string            `json:"world"`
	Storage    string            `json:"storage"` // one MinIO with four drives, or four with one each
	Bare       bool              `json:"minio_alone,omitempty"`
	Versions   map[string]string `json:"versions"`
	Operations map[string]counts `json:"operations"`
	Faults     []nemesis.Fault   `json:"faults"`
	LeftOut    []string          `json:"faults_left_out"`
	// Registers are the keys whose histories were checked, Undecided those that were too long for that.
	Registers  int                 `json:"registers"`
	Undecided  int                 `json:"undecided"`
	Violations []checker.Violation `json:"violations"`
	// Apart is what the storage is known to break alone, see checker.SetApart.
	Apart []checker.Violation `json:"apart"`
}

// counts are operations of a kind by outcome.
type counts map[string]int

func newSummary(o options) *summary {
	s := &summary{
		Seed: o.seed, Began: time.Now().UTC(), Duration: o.duration.String(), Clients: o.clients, World: o.cluster.World, Bare: o.cluster.Bare,
		Versions: map[string]string{}, Operations: map[string]counts{}, Violations: []checker.Violation{},
	}
	if s.Storage = "four"; o.cluster.OneMinIO || o.cluster.Load {
		s.Storage = "one"
	}
	for name, program := range map[string]string{"bucketseal": o.cluster.Bucketseal, "minio": o.cluster.MinIO, "mc": o.cluster.MC, "haproxy": o.cluster.HAProxy} {
		flag := "--version"
		if name == "haproxy" {
			flag = "-v"
		}
		out, err := exec.Command(program, flag).Output()
		if program != "" && err == nil {
			s.Versions[name], _, _ = strings.Cut(strings.TrimSpace(string(out)), "\n")
		}
	}
	return s
}

// write leaves summary.json and summary.md in the run's folder and prints the latter.
func (s *summary) write(o options) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	page := s.markdown()
	fmt.Print(page)
	files := map[string]string{filepath.Join(o.cluster.Dir, "summary.json"): string(text) + "\n", filepath.Join(o.cluster.Dir, "summary.md"): page}
	if o.markdown != "" {
		files[o.markdown] = page
	}
	for name, text := range files {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// markdown is the summary as docs/reliability.md has it.
func (s *summary) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "Seed %d, %s, %d clients, %s, storage: %s, %s.\n\n", s.Seed, s.Duration, s.Clients, s.World, s.Storage, s.Began.Format("2006-01-02"))
	for _, name := range slices.Sorted(maps.Keys(s.Versions)) {
		fmt.Fprintf(&b, "- %s\n", s.Versions[name])
	}
	outcomes := map[string]bool{}
	for _, c := range s.Operations {
		for outcome := range c {
			outcomes[outcome] = true
		}
	}
	columns := slices.Sorted(maps.Keys(outcomes))
	fmt.Fprintf(&b, "\n| Operation | %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)))
	for _, kind := range slices.Sorted(maps.Keys(s.Operations)) {
		fmt.Fprintf(&b, "| %s |", kind)
		for _, outcome := range columns {
			fmt.Fprintf(&b, " %d |", s.Operations[kind][outcome])
		}
		b.WriteString("\n")
	}
	times, total := map[string]int{}, map[string]time.Duration{}
	for _, f := range s.Faults {
		times[f.Kind]++
		total[f.Kind] += f.End.Sub(f.Start)
	}
	b.WriteString("\n| Fault | times | seconds |\n|---|---:|---:|\n")
	for _, kind := range slices.Sorted(maps.Keys(times)) {
		fmt.Fprintf(&b, "| %s | %d | %.0f |\n", kind, times[kind], total[kind].Seconds())
	}
	if len(s.LeftOut) > 0 {
		fmt.Fprintf(&b, "\nNot possible here: %s.\n", strings.Join(s.LeftOut, ", "))
	}
	fmt.Fprintf(&b, "\nRegisters checked: %d, undecided: %d. Violations: %d.\n", s.Registers, s.Undecided, len(s.Violations))
	for _, v := range s.Violations {
		fmt.Fprintf(&b, "- %s\n", line(v))
	}
	if len(s.Apart) > 0 {
		fmt.Fprintf(&b, "\nWhat MinIO breaks alone: %d.\n", len(s.Apart))
		for _, v := range s.Apart {
			fmt.Fprintf(&b, "- %s\n", line(v))
		}
	}
	return b.String()
}

// killed tells whether a MinIO was.
func (s *summary) killed() bool {
	return slices.ContainsFunc(s.Faults, func(f nemesis.Fault) bool { return f.Kind == "kill-minio" || f.Kind == "kill-two-minios" })
}

// enoughTries is how often one kind of operation succeeds once, whatever the faults.
const enoughTries = 200

// inVain fails if a kind of operation never succeeded: the run has shown nothing of it.
func (s *summary) inVain() error {
	for kind, outcomes := range s.Operations {
		tries := 0
		for _, n := range outcomes {
			tries += n
		}
		if tries >= enoughTries && outcomes[string(history.OK)] == 0 && kind != string(history.UseExpired) {
			return fmt.Errorf("none of %d operations %q succeeded", tries, kind)
		}
	}
	return nil
}
