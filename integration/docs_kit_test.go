//go:build unix

package integration

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The pages of the documentation are scripts. A fence says what becomes of its content:
//
//	sh run=NAME                 these commands are run, with those of the same name
//	sh run=NAME background=PORT so is this server, until the end; the port opens
//	sh run=NAME fails           the last command must fail
//	sh norun="why"              these are not run here
//	sh usage                    the form of commands: they and their flags exist
//	LANGUAGE run=NAME file=F    this is written to the file F
//	text output                 each line stands in what the block before printed,
//	                            in this order; "..." stands for anything
//
// In a block that is run, the comment "#=> TEXT" says what it prints.

// docBlock is a fenced block of a page.
type docBlock struct {
	page           string
	line           int
	language, info string
	text           string
}

func (b docBlock) place() string { return fmt.Sprintf("%s:%d", b.page, b.line) }

var infoWord = regexp.MustCompile(`([a-z]+)(?:=("[^"]*"|\S+))?`)

// option returns a word of the info string and its value.
func (b docBlock) option(name string) (value string, ok bool) {
	for _, m := range infoWord.FindAllStringSubmatch(b.info, -1) {
		if m[1] == name {
			return strings.Trim(m[2], `"`), true
		}
	}
	return "", false
}

// expectations are the texts that a block says it prints.
func (b docBlock) expectations() []string {
	var all []string
	for line := range strings.SplitSeq(b.text, "\n") {
		if _, want, ok := strings.Cut(line, "#=> "); ok {
			all = append(all, want)
		}
	}
	return all
}

// docPages are the pages that users read, the README first.
func docPages(t *testing.T) []string {
	t.Helper()
	pages := []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/helm/bucketseal/README.md"}
	found, err := filepath.Glob(filepath.Join(repoRoot(), "docs", "*.md"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no pages: %v", err)
	}
	for _, p := range found {
		pages = append(pages, "docs/"+filepath.Base(p))
	}
	return pages
}

// commandLine is a line that looks like something to type.
var commandLine = regexp.MustCompile(`^\s*(sudo |\$ )?(\.bin/)?(bucketseal|kes|mc|minio|aws|make|docker|kubectl|helm|curl|git|go|systemctl|journalctl|openssl|age-keygen|export [A-Z])\s`)

// docBlocks reads a page's fences, and complains of commands outside of any.
func docBlocks(t *testing.T, page string) []docBlock {
	t.Helper()
	var blocks []docBlock
	var open *docBlock
	indent := ""
	for i, line := range strings.Split(readRepo(t, page), "\n") {
		bare := strings.TrimLeft(line, " ")
		fence := strings.HasPrefix(bare, "```")
		switch {
		case fence && open == nil:
			indent = line[:len(line)-len(bare)]
			language, info, _ := strings.Cut(strings.TrimPrefix(bare, "```"), " ")
			open = &docBlock{page: page, line: i + 1, language: language, info: info}
		case fence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.text += strings.TrimPrefix(line, indent) + "\n"
		case strings.HasPrefix(line, "    ") && commandLine.MatchString(line):
			t.Errorf("%s:%d: a command outside of a fence, so nothing says whether it is run: %s", page, i+1, bare)
		}
	}
	if open != nil {
		t.Errorf("%s: the fence does not end", open.place())
	}
	return blocks
}

// docRun runs the blocks of one name, in one folder and one shell.
type docRun struct {
	dir string
	// env is the environment of the shell.
	env []string
	// words are replaced in what is run: addresses, and what pages leave to their reader.
	words *strings.Replacer
}

// newDocRun makes the folder and puts the programs of the documentation first in PATH.
func newDocRun(t *testing.T, words ...string) *docRun {
	t.Helper()
	d := &docRun{dir: t.TempDir(), words: strings.NewReplacer(words...)}
	seal, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(d.dir, ".bin")
	if err := os.Mkdir(bin, 0o700); err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"bucketseal": seal}
	for name, variable := range map[string]string{"minio": "MINIO_BIN", "mc": "MC_BIN"} {
		if programs[name], err = tool(variable, name); err != nil {
			t.Fatal(err)
		}
	}
	for name, path := range programs {
		if path, err = filepath.Abs(path); err == nil {
			err = os.Symlink(path, filepath.Join(bin, name))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	d.env = baseEnv("HOME="+d.dir, "MC_CONFIG_DIR="+filepath.Join(d.dir, ".mc"), "MC_QUIET=true", "MC_NO_COLOR=true", "MC_DISABLE_PAGER=true",
		"PATH="+bin+":"+os.Getenv("PATH"), "AWS_EC2_METADATA_DISABLED=true", "AWS_PAGER=", "MINIO_CI_CD=on", "MINIO_BROWSER=off",
		"PYENV_ROOT="+pyenvRoot(), "PYENV_VERSION="+os.Getenv("PYENV_VERSION"), "BOTO_EXPERIMENTAL__NO_EMPTY_CONTINUE=true")
	return d
}

// pyenvRoot is where pyenv's shims find Python when HOME is another folder.
func pyenvRoot() string {
	if root := os.Getenv("PYENV_ROOT"); root != "" {
		return root
	}
	return filepath.Join(realHome(), ".pyenv")
}

// write makes a file in the folder.
func (d *docRun) write(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(d.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// docMark begins the output of a block.
const docMark = "@@@ block "

// script is what the blocks do, as one program for bash.
func (d *docRun) script(blocks []docBlock) string {
	var s strings.Builder
	s.WriteString("set -eu\nexec 2>&1\n") // as at a terminal: what head leaves unread is no failure
	s.WriteString("opens() { for ((i = 0; i < 400; i++)); do (exec 3<>/dev/tcp/127.0.0.1/$1) 2>/dev/null && return; sleep 0.05; done; echo \"port $1 does not open\"; return 1; }\n")
	for i, b := range blocks {
		fmt.Fprintf(&s, "echo \"%s%d at $SECONDS s\"\n", docMark, i)
		text := d.words.Replace(b.text)
		port, background := b.option("background")
		_, fails := b.option("fails")
		file, isFile := b.option("file")
		switch {
		case isFile:
			fmt.Fprintf(&s, "cat > '%s' <<'@@@ end'\n%s@@@ end\n", file, text)
		case background:
			fmt.Fprintf(&s, "(\n%s) > background-%d.log &\n", text, i)
			fmt.Fprintf(&s, "opens %s || { cat background-%d.log; exit 1; }\n", d.words.Replace(port), i)
		case fails:
			fmt.Fprintf(&s, "if (\n%s); then echo '@@@ this did not fail'; exit 1; fi\n", text)
		default:
			s.WriteString(text)
		}
	}
	return s.String()
}

// run runs the blocks and compares what they print with what they say.
func (d *docRun) run(t *testing.T, blocks []docBlock) {
	t.Helper()
	cmd := exec.Command("bash", "-c", d.script(blocks))
	cmd.Dir, cmd.Env = d.dir, d.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = nil
	out := filepath.Join(t.TempDir(), "output")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd.Stdout = f
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	group := -cmd.Process.Pid
	stop := func() { _ = syscall.Kill(group, syscall.SIGKILL) }
	t.Cleanup(stop) // servers of background blocks
	limit := time.AfterFunc(2*time.Minute, stop)
	failed := cmd.Wait()
	limit.Stop()
	d.compare(t, blocks, string(readFile(t, out)), failed)
}

// compare looks at each block's output.
func (d *docRun) compare(t *testing.T, blocks []docBlock, all string, failed error) {
	t.Helper()
	outputs := strings.Split(all, docMark)[1:]
	for i, out := range outputs {
		began, _, _ := strings.Cut(out, "\n")
		t.Logf("%s: block %s", blocks[i].place(), began)
	}
	for i, b := range blocks {
		if i >= len(outputs) {
			t.Fatalf("%s was not reached", b.place())
		}
		_, out, _ := strings.Cut(outputs[i], "\n")
		for _, want := range b.expectations() {
			rest, ok := cutLine(out, d.words.Replace(want))
			if !ok {
				t.Errorf("%s says that it prints %q. It prints\n%s", b.place(), want, out)
				break
			}
			out = rest
		}
		if failed != nil && i == len(outputs)-1 {
			t.Fatalf("%s: %v\n%s\n%s", b.place(), failed, b.text, outputs[i])
		}
	}
}

// cutLine finds a text, in which "..." is anything and spaces are alike, and returns what
// follows it.
func cutLine(out, want string) (rest string, ok bool) {
	var pattern strings.Builder
	for i, part := range strings.Split(want, "...") {
		if i > 0 {
			pattern.WriteString(`.*?`)
		}
		words := strings.Fields(part)
		for j, w := range words {
			words[j] = regexp.QuoteMeta(w)
		}
		pattern.WriteString(strings.Join(words, `[ \t]+`))
		if len(words) > 0 && i < strings.Count(want, "...") {
			pattern.WriteString(`[ \t]*`)
		}
	}
	at := regexp.MustCompile(pattern.String()).FindStringIndex(out)
	if at == nil {
		return out, false
	}
	return out[at[1]:], true
}

// withOutputs makes expectations of the blocks that only show output, and leaves them out.
func withOutputs(t *testing.T, blocks []docBlock) []docBlock {
	t.Helper()
	var all []docBlock
	for _, b := range blocks {
		if _, output := b.option("output"); !output {
			all = append(all, b)
			continue
		}
		if len(all) == 0 || all[len(all)-1].page != b.page {
			t.Errorf("%s: output of what?", b.place())
			continue
		}
		last := &all[len(all)-1]
		for line := range strings.Lines(b.text) {
			if line = strings.TrimSpace(line); line != "" && line != "..." {
				last.text += "#=> " + line + "\n"
			}
		}
	}
	return all
}

// blocksOf returns the blocks that are run under a name, in the order of pages given.
func blocksOf(t *testing.T, name string, pages ...string) []docBlock {
	t.Helper()
	var all []docBlock
	for _, page := range pages {
		blocks := withOutputs(t, docBlocks(t, page))
		all = append(all, slices.DeleteFunc(blocks, func(b docBlock) bool {
			run, _ := b.option("run")
			return run != name
		})...)
	}
	if len(all) == 0 {
		t.Fatalf("no block says run=%s", name)
	}
	return all
}
