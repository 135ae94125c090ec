//go:build unix

package integration

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// runnable are the names that blocks are run under, each by a test below.
func runnable() []string {
	return []string{"quickstart", "operate", "runbook", "keylife", "kms", "aws"}
}

// Every fence says what its content is, and every block of commands whether it is run.
func TestEveryCommandOfTheDocumentationIsRunOrSaysWhyNot(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	for _, page := range docPages(t) {
		for _, b := range docBlocks(t, page) {
			run, runs := b.option("run")
			why, not := b.option("norun")
			_, usage := b.option("usage")
			switch {
			case b.language == "":
				t.Errorf("%s: this fence does not say what it is: sh, yaml, json, text ...", b.place())
			case b.language == "sh" && !runs && !usage && !not:
				t.Errorf("%s: these commands are not run: say run=NAME, usage, or norun=\"why\"", b.place())
			case not && len(why) < 8:
				t.Errorf("%s: norun needs a reason", b.place())
			case runs && !slices.Contains(runnable(), run):
				t.Errorf("%s: nothing runs %q", b.place(), run)
			}
		}
	}
}

// helps remembers what `bucketseal COMMAND --help` says.
type helps map[string]string

func (h helps) of(t *testing.T, words []string) string {
	t.Helper()
	name := strings.Join(words, " ")
	if text, ok := h[name]; ok {
		return text
	}
	program, err := sealBinary()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, append(slices.Clone(words), "--help")...).CombinedOutput()
	if err != nil {
		out = nil
	}
	h[name] = string(out)
	return h[name]
}

// command returns the words of a command line that name a subcommand, and its help.
func (h helps) command(t *testing.T, line string) (words []string, help string) {
	t.Helper()
	help = h.of(t, nil)
	for word := range strings.FieldsSeq(line) {
		if !regexp.MustCompile(`(?m)^  ` + regexp.QuoteMeta(word) + ` +\S`).MatchString(afterCommands(help)) {
			break
		}
		words = append(words, word)
		help = h.of(t, words)
	}
	return words, help
}

// afterCommands is the list of subcommands in a help text.
func afterCommands(help string) string {
	_, list, _ := strings.Cut(help, "Available Commands:")
	list, _, _ = strings.Cut(list, "Flags:")
	return list
}

// Every command line of bucketseal's, run or not, names a command and flags that exist.
func TestEveryCommandLineOfTheDocumentationExists(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	h := helps{}
	seen := 0
	for _, page := range docPages(t) {
		for _, line := range sealCommandLines(t, page) {
			words, help := h.command(t, line)
			if len(words) == 0 || strings.Contains(help, "Available Commands:") && line != strings.Join(words, " ") && !regexp.MustCompile(`^(\.\.\.|--?[a-z])`).MatchString(strings.TrimSpace(strings.TrimPrefix(line, strings.Join(words, " ")))) {
				t.Errorf("%s: there is no command bucketseal %s", page, line)
				continue
			}
			if words[0] == "kes" { // KES's own flags, which have their tests
				continue
			}
			seen++
			for _, flag := range regexp.MustCompile(`(?:^|[\s\[(])(--[a-z][a-z0-9-]+)`).FindAllStringSubmatch(line, -1) {
				if !strings.Contains(help, flag[1]+" ") && !strings.Contains(help, flag[1]+"\n") {
					t.Errorf("%s: bucketseal %s has no flag %s", page, strings.Join(words, " "), flag[1])
				}
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d command lines were found", seen)
	}
}

// sealCommandLines are the arguments of bucketseal in a page's fences and in its text.
func sealCommandLines(t *testing.T, page string) []string {
	t.Helper()
	var all []string
	text := regexp.MustCompile("(?ms)^ *```.*?^ *```$").ReplaceAllString(readRepo(t, page), "")
	for _, m := range regexp.MustCompile("`bucketseal ([a-z][^`]*)`").FindAllStringSubmatch(text, -1) {
		all = append(all, strings.Join(strings.Fields(m[1]), " "))
	}
	for _, b := range docBlocks(t, page) {
		if b.language != "sh" {
			continue
		}
		joined := strings.ReplaceAll(b.text, "\\\n", " ")
		for _, m := range regexp.MustCompile(`(?m)(?:^|[ (])bucketseal ([a-z][^#|;&>\n]*)`).FindAllStringSubmatch(joined, -1) {
			all = append(all, strings.TrimSpace(m[1]))
		}
	}
	return all
}

func TestQuickStart(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("aws-cli is not installed")
	}
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{dir: dir, minio: minio}
	t.Cleanup(func() { _ = s.stop() })
	if s.seal, err = startSeal(dir, "", minio.endpoint()); err != nil {
		t.Fatal(err)
	}
	second, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(second, ":")
	d := newDocRun(t, "127.0.0.1:8080", s.seal.addr, "127.0.0.1:9000", minio.addr, ":8080", second, "8080", port,
		"BUCKETSEAL_ROOT_USER=user", "BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD=password", "BUCKETSEAL_ROOT_PASSWORD="+rootPassword,
		"USER", rootUser, " PASSWORD", " "+rootPassword, "=PASSWORD", "="+rootPassword, "/var/lib/bucketseal", s.seal.dataDir, "/tmp/first", "first")
	d.write(t, "README.md", readRepo(t, "README.md"), 0o600)
	d.run(t, blocksOf(t, "quickstart", "README.md"))
}

// TestOperatorsTasks runs what the pages about operation tell to type, page by page, on one
// installation.
func TestOperatorsTasks(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	d := newOperated(t)
	for _, page := range []string{"README.md", "docs/configuration.md", "docs/operations.md", "docs/errors.md", "docs/audit.md", "docs/backup.md", "docs/key-loss.md", "docs/high-availability.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) { d.run(t, blocksOf(t, "operate", page)) })
	}
	for _, page := range []string{"docs/metrics.md", "docs/runbook.md"} {
		t.Run(filepath.Base(page), func(t *testing.T) { d.run(t, blocksOf(t, "runbook", page)) })
	}
}

// A count of what lies under a key waits for the slowest proxy, ten seconds each time. The
// same steps, with other tests between them, are TestLifeOfAKeyInAFolder.
func TestTasksInTheLifeOfAKey(t *testing.T) {
	needsSeal(t)
	if os.Getenv("BUCKETSEAL_LONG") == "" {
		t.Skip("takes 40 s; BUCKETSEAL_LONG=1 runs it")
	}
	newOperated(t).run(t, blocksOf(t, "keylife", "docs/key-life.md"))
}

// newOperated starts an installation with some objects, and returns where to work on it.
func newOperated(t *testing.T) *docRun {
	t.Helper()
	dir := t.TempDir()
	minio, err := startMinIO(dir, "", false)
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{dir: dir, minio: minio}
	t.Cleanup(func() { _ = s.stop() })
	metrics, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	identity, recipient := newAgeIdentity(t)
	second, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	others, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(second, ":")
	d := newDocRun(t, "127.0.0.1:8081", second, "8081", port, "127.0.0.1:9101", others, "ACCESS SECRET", rootUser+" "+rootPassword, " FILE", " bucketseal.yml", "PATTERN", "old-*", "ALIAS", "seal", "age1...", recipient, "SECRET", "service-secret-0123",
		"ACCESS_KEY", "carol", "MINIO:9000", minio.addr, " MINIO\n", " raw\n", "127.0.0.1:9100", metrics, "--bucket BUCKET", "--bucket photos",
		" NAME\n", " patients\n")
	yaml := "upstream:\n  endpoint: " + minio.endpoint() + "\n" +
		"data_dir: keys\nplain_read: [\"old-*\"]\nmetrics: {address: \"" + metrics + "\"}\naudit: {file: {path: audit.log}}\n"
	d.write(t, "bucketseal.yml", yaml, 0o600)
	d.env = append(d.env, "BUCKETSEAL_CONFIG="+filepath.Join(d.dir, "bucketseal.yml"),
		"BUCKETSEAL_ROOT_USER="+rootUser, "BUCKETSEAL_ROOT_PASSWORD="+rootPassword)
	if s.seal, err = startSealWith(dir, minio.endpoint(), filepath.Join(d.dir, "bucketseal.yml")); err != nil {
		t.Fatal(err)
	}
	s.dumpOnFailure(t)
	waitFor(t, startLimit, "the proxy to be ready", s.seal.isReady)
	d.write(t, "offline.key", string(readFile(t, identity)), 0o600)
	d.standIn(t, "age-keygen", "cp '"+identity+"' \"$2\"")
	for _, name := range []string{"journalctl", "systemctl"} { // the log, whatever is looked for
		d.standIn(t, name, "tail -n 5 '"+s.seal.logPath+"'")
	}
	policy, _ := documentedPolicy(t)
	d.write(t, "service.json", policy, 0o600)
	d.write(t, "secret", "carols-secret-key", 0o600)
	d.prepare(t, s)
	return d
}

// prepare makes aliases, keys and objects that the pages take for granted.
func (d *docRun) prepare(t *testing.T, s *stack) {
	t.Helper()
	d.run(t, []docBlock{{page: "preparation", text: strings.Join([]string{
		"mc alias set seal " + s.seal.endpoint() + " " + rootUser + " " + rootPassword,
		"mc alias set raw " + s.minio.endpoint() + " " + rootUser + " " + rootPassword,
		"bucketseal key create patients --config bucketseal.yml", "",
	}, "\n")}})
	c, raw := s.client(), s.raw()
	for _, bucket := range []string{"photos", "wards", "acme-data", "old-files"} {
		c.do(t, request{method: http.MethodPut, bucket: bucket}).wantStatus(t, http.StatusOK)
	}
	c.put(t, "photos", "small", testData(1000, 1), nil)
	c.put(t, "photos", "large", testData(9<<20, 2), nil)
	c.put(t, "wards", "chart", testData(2000, 3), map[string]string{"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "patients"})
	raw.put(t, "old-files", "letter", testData(3000, 4), nil)
}

// standIn makes a program that takes the place of one that is not everywhere.
func (d *docRun) standIn(t *testing.T, name, script string) {
	t.Helper()
	d.write(t, filepath.Join(".bin", name), "#!/bin/sh\n"+script+"\n", 0o700)
}

func TestKeyServerFromNothing(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	d := newDocRun(t, append(portWords(t), " patients", " my-key")...)
	d.run(t, blocksOf(t, "kms", "docs/kms.md"))
}

// portWords replaces the ports of the documentation by free ones.
func portWords(t *testing.T) []string {
	t.Helper()
	var words []string
	for _, port := range []string{"7373", "9000", "9100", "8080"} {
		addr, err := freeAddress()
		if err != nil {
			t.Fatal(err)
		}
		_, free, _ := strings.Cut(addr, ":")
		words = append(words, port, free)
	}
	return words
}

// The page about AWS is run from its first to its last command, with moto as AWS.
func TestAWSRootKMSPage(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	if _, err := exec.LookPath("aws"); err != nil {
		t.Skip("aws-cli is not installed")
	}
	addr := moto(t)
	words := append([]string{"secretsmanager.us-east-1.amazonaws.com", "http://" + addr}, portWords(t)...)
	d := newDocRun(t, words...)
	d.env = append(d.env, "AWS_ENDPOINT_URL=http://"+addr, "AWS_DEFAULT_REGION=us-east-1")
	if err := os.Symlink("bucketseal", filepath.Join(d.dir, ".bin", "kes")); err != nil {
		t.Fatal(err)
	}
	d.run(t, blocksOf(t, "aws", "docs/aws-root-kms.md"))
}

// What a page says is printed is looked for in order, and not found where it is not.
func TestExpectationsOfPagesCanFail(t *testing.T) {
	t.Parallel()
	const out = "Name      : note\nEncryption: SSE-KMS (arn:aws:kms:patients)\nversion 17 of 20\n"
	for _, tt := range []struct {
		want string
		ok   bool
	}{
		{"Name : note", true},
		{"Encryption: SSE-KMS (arn:aws:kms:patients)", true},
		{"version ... of 20", true},
		{"version ... of 21", false},
		{"Encryption: SSE-S3", false},
		{"Name ... SSE-KMS", false}, // not across lines
	} {
		if _, ok := cutLine(out, tt.want); ok != tt.ok {
			t.Errorf("%q: found %v", tt.want, ok)
		}
	}
	rest, _ := cutLine(out, "Encryption:")
	if _, again := cutLine(rest, "Name"); again {
		t.Error("an earlier line is found after a later one")
	}
}

// A block that fails, and one that does not although it must, fail the script.
func TestScriptsOfPagesCanFail(t *testing.T) {
	needsSeal(t)
	t.Parallel()
	d := newDocRun(t, "WORD", "word")
	for name, tt := range map[string]struct {
		blocks []docBlock
		ok     bool
	}{
		"runs":             {[]docBlock{{text: "echo WORD\n#=> word\n"}}, true},
		"fails":            {[]docBlock{{text: "false\necho on\n"}}, false},
		"must fail":        {[]docBlock{{info: "run=x fails", text: "false\n"}}, true},
		"must fail, not":   {[]docBlock{{info: "run=x fails", text: "true\n"}}, false},
		"writes":           {[]docBlock{{info: "run=x file=written", text: "WORD\n"}, {text: "grep -q word written\n"}}, true},
		"the second fails": {[]docBlock{{text: "true\n"}, {text: "false\n"}}, false},
	} {
		cmd := exec.Command("bash", "-c", d.script(tt.blocks))
		cmd.Dir, cmd.Env = d.dir, d.env
		if out, err := cmd.CombinedOutput(); (err == nil) != tt.ok {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}
