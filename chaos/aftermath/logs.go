package aftermath

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/bucketseal/bucketseal/chaos/cluster"
)

// crashes are words of a Go program that did not end as it should.
var crashes = []string{"panic: ", "fatal error: ", "WARNING: DATA RACE", "runtime error: "}

// longestLine is how long a log's line may be.
const longestLine = 16 << 20

// logs looks for secrets in every log, also MinIO's, and for crashes in the product's own.
func logs(_ context.Context, c *cluster.Cluster, o Options) ([]Finding, error) {
	secrets := c.Secrets()
	for what, secret := range o.Secrets {
		secrets[what] = secret
	}
	var found []Finding
	folders := []string{filepath.Join(c.Dir, "log")}
	for _, s := range append(append([]*cluster.Server(nil), c.Proxies...), c.KeyServers...) {
		folders = append(folders, s.Drive)
	}
	for _, folder := range folders {
		err := filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			one, err := search(path, spell(secrets), !strings.HasPrefix(d.Name(), "minio"))
			found = append(found, one...)
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}

// spell gives each secret in all the ways in which it could be written: as it is, and what it is the encoding
// of, or in its own encodings.
func spell(secrets map[string]string) map[string][]string {
	all := map[string][]string{}
	for what, secret := range secrets {
		if len(secret) < 8 {
			continue // it would be found everywhere
		}
		raw := [][]byte{[]byte(secret)}
		if b, err := base64.StdEncoding.DecodeString(secret); err == nil && len(b) >= 16 {
			raw = append(raw, b)
		}
		for _, b := range raw {
			all[what] = append(all[what], string(b), hex.EncodeToString(b), base64.StdEncoding.EncodeToString(b),
				strings.TrimRight(base64.URLEncoding.EncodeToString(b), "="))
		}
	}
	return all
}

// search reads a file by lines. Each secret is told of once.
func search(path string, secrets map[string][]string, crash bool) ([]Finding, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var found []Finding
	told := map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, longestLine)
	for number := 1; lines.Scan(); number++ {
		line := lines.Bytes()
		for what, spellings := range secrets {
			for _, s := range spellings {
				if !told[what] && bytes.Contains(line, []byte(s)) {
					told[what] = true
					found = append(found, Finding{"secret", fmt.Sprintf("%s:%d has %s", path, number, what)})
				}
			}
		}
		for _, word := range crashes {
			if crash && !told[word] && bytes.Contains(line, []byte(word)) {
				told[word] = true
				found = append(found, Finding{"crash", fmt.Sprintf("%s:%d: %.200s", path, number, line)})
			}
		}
	}
	return found, lines.Err()
}
