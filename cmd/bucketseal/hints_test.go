package main

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
)

// TestTheLogSaysWhatToDoAboutAnUpstream starts the proxy before upstreams that it
// cannot use as it was told to.
func TestTheLogSaysWhatToDoAboutAnUpstream(t *testing.T) {
	t.Parallel()
	refuse := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/minio/health/") {
				return
			}
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, "<Error><Code>"+code+"</Code><Message>no</Message></Error>")
		}
	}
	server := func(secure bool, h http.HandlerFunc) string {
		s := httptest.NewUnstartedServer(h)
		s.Config.ErrorLog = log.New(io.Discard, "", 0)
		if secure {
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.URL
	}
	secure, plain := server(true, refuse("x")), server(false, refuse("x"))
	for name, test := range map[string]struct{ upstream, want string }{
		"http to TLS":     {strings.Replace(secure, "https", "http", 1), `MinIO speaks TLS there: upstream\.endpoint must begin with https://`},
		"https to plain":  {strings.Replace(plain, "http", "https", 1), `upstream\.endpoint must then begin with http://`},
		"unknown CA":      {secure, `name the certificate of its authority, or its own, in upstream\.ca`},
		"wrong secret":    {server(false, refuse("SignatureDoesNotMatch")), `hint=.*another secret.*upstream\.credentials`},
		"unknown user":    {server(false, refuse("InvalidAccessKeyId")), `hint=.*does not know the proxy's own access key`},
		"too few rights":  {server(false, refuse("AccessDenied")), `hint=.*too few rights`},
		"different clock": {server(false, refuse("RequestTimeTooSkewed")), `hint=.*clocks`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := start(t, rootEnv(), "server", "--upstream", test.upstream, "--address", "127.0.0.1:0", "--data-dir", t.TempDir())
			d.waitLog(t, "("+test.want+")")
		})
	}
}

func TestFilesOfTheOtherServerAreRecognised(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	kes := write(t, filepath.Join(dir, "kes.yml"), "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}\n")
	fails(t, 1, "MINIO_KES_SERVER", nil, "", "key", "ls", "--config", kes)
	seal := write(t, filepath.Join(dir, "seal.yml"), "upstream: {endpoint: \"http://127.0.0.1:1\"}\n")
	fails(t, 1, "is it the file of bucketseal server?", nil, "", "kms", "config", "check", seal)
	empty := write(t, filepath.Join(dir, "empty.yml"), "admin: {identity: disabled}\ntls: {key: k, cert: c}\nkeystore: {mem: {}}\npolicy: {p: {allow: [/v1/status], identities: [\"${MINIO_IDENTITY}\"]}}\n")
	fails(t, 1, "the environment variable MINIO_IDENTITY is", []string{"MINIO_IDENTITY="}, "", "kms", "config", "check", empty)
}

func TestAnUnknownAuthorityOfAKeyServerIsNamed(t *testing.T) {
	t.Parallel()
	s := startKeyServer(t, strings.Repeat("ab", 32))
	apiKey, _ := newIdentity(t)
	env := []string{"MINIO_KES_SERVER=" + s.address, "MINIO_KES_API_KEY=" + apiKey}
	fails(t, 1, "MINIO_KES_CAPATH", env, "", "status")
}

func TestErrorsOfKeyCommandsNameTheStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ok(t, nil, "", "key", "create", "one", "--data-dir", dir, "--init")
	fails(t, 1, "keys in "+filepath.Join(dir, "keys")+":", nil, "", "key", "info", "two", "--data-dir", dir)
	s := startKeyServer(t, strings.Repeat("ab", 32))
	fails(t, 1, "https://"+s.address, s.admin, "", "key", "info", "two")
}
