package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// session is a temporary credential.
type session struct{ AccessKey, SecretKey, Token string }

const assumeRoleScript = `
import boto3, json, sys
endpoint, access, secret, seconds = sys.argv[1:]
sts = boto3.client("sts", endpoint_url=endpoint, aws_access_key_id=access, aws_secret_access_key=secret)
c = sts.assume_role(RoleArn="arn:minio:iam:::role/any", RoleSessionName="session", DurationSeconds=int(seconds))["Credentials"]
print(json.dumps({"AccessKey": c["AccessKeyId"], "SecretKey": c["SecretAccessKey"], "Token": c["SessionToken"]}))
`

// assumeRole gets a session of a quarter of an hour by boto3.
func assumeRole(t *testing.T, c *client) session {
	t.Helper()
	var s session
	out := python(t, c.endpoint, assumeRoleScript, c.endpoint, c.access, c.secret, "900")
	if err := json.Unmarshal([]byte(out), &s); err != nil || s.Token == "" {
		t.Fatalf("assume_role: %v, %s", err, out)
	}
	return s
}

// webIdentity asks for a session with a token that only upstream can judge.
func webIdentity(t *testing.T, c *client) (status int, body string) {
	t.Helper()
	form := url.Values{"Action": {"AssumeRoleWithWebIdentity"}, "Version": {"2011-06-15"}, "WebIdentityToken": {"header.claims.signature"}}
	resp, err := c.http.PostForm(c.endpoint+"/", form)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(data)
}

// stsAnswer is what a MinIO that issues s answers to an action.
func stsAnswer(action string, s session, expires time.Time) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<%[1]sResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><%[1]sResult><Credentials><AccessKeyId>%[2]s</AccessKeyId><SecretAccessKey>%[3]s</SecretAccessKey><SessionToken>%[4]s</SessionToken><Expiration>%[5]s</Expiration></Credentials></%[1]sResult></%[1]sResponse>`,
		action, s.AccessKey, s.SecretKey, s.Token, expires.UTC().Format(time.RFC3339))
}

// yesMan answers everybody but root, in a bucket, as MinIO answers root.
func (h *hostile) yesMan(bucket string) act {
	raw := h.stack.raw()
	return func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasPrefix(r.URL.Path, "/"+bucket) || strings.Contains(r.Header.Get("Authorization"), "Credential="+rootUser+"/") {
			return false
		}
		body, _ := io.ReadAll(r.Body)
		header := make(map[string]string)
		for name := range r.Header {
			if name == "Range" || strings.HasPrefix(name, "If-") || strings.HasPrefix(name, "X-Amz-Copy-Source") || strings.HasPrefix(name, "X-Amz-Metadata-D") {
				header[name] = r.Header.Get(name)
			}
		}
		a, err := raw.try(request{method: r.Method, path: r.URL.EscapedPath(), query: r.URL.RawQuery, body: body, header: header})
		if err != nil {
			return false
		}
		for name, values := range a.header {
			w.Header()[name] = values
		}
		w.WriteHeader(a.status)
		_, _ = io.Copy(w, bytes.NewReader(a.body))
		return true
	}
}

// sealCommand runs a command of bucketseal with the server's own settings and an
// input, and returns all that it prints.
func (s *stack) sealCommand(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	_, all, err := s.commandWith(t, stdin, args...)
	return all, err
}

// hangup asks the server to read its configuration again.
func (s *sealServer) hangup(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

// addUser makes a user of MinIO that may do everything, behind the proxy's back.
func (s *stack) addUser(t *testing.T, name, secret string) {
	t.Helper()
	mc := newMC(t, s)
	mc.must(t, "admin", "user", "add", "raw", name, secret)
	_, _, _ = mc.run(t, "admin", "policy", "attach", "raw", "readwrite", "--user", name)
}

// becomes repeats a request until it has a status, for at most five seconds.
func becomes(t *testing.T, c *client, r request, status int) answer {
	t.Helper()
	deadline := time.Now().Add(5 * time.Second)
	for {
		a := c.do(t, r)
		if a.status == status || time.Now().After(deadline) {
			return a.wantStatus(t, status)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// configured starts a proxy with a configuration file and returns the file too.
func configured(t *testing.T, s *stack, config string) (*client, *sealServer, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "bucketseal.yml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	seal, err := startSeal(s.dir, "", s.minio.endpoint(), "--config", file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(seal.kill)
	seal.dumpOnFailure(t)
	return newClient(seal.endpoint(), rootUser, rootPassword), seal, file
}
