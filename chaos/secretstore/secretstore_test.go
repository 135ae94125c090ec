package secretstore

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// store starts a store and returns how to ask it.
func store(t *testing.T) (s *Server, ask func(operation, body string) (int, map[string]any)) {
	t.Helper()
	// The certificate of a test server is good for 127.0.0.1.
	other := httptest.NewTLSServer(http.NotFoundHandler())
	defer other.Close()
	s, err := Listen("127.0.0.1:0", other.TLS.Certificates[0], 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(other.Certificate())
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	return s, func(operation, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.Address(), strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-Amz-Target", "secretsmanager."+operation)
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		var out map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&out); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, out
	}
}

func TestSecretLivesAndEnds(t *testing.T) {
	t.Parallel()
	s, ask := store(t)
	for _, step := range []struct {
		operation, body, want string // what is in the answer
	}{
		{"GetSecretValue", `{"SecretId":"a"}`, "ResourceNotFoundException"},
		{"CreateSecret", `{"Name":"a","SecretString":"v","ClientRequestToken":"1"}`, "a"},
		{"CreateSecret", `{"Name":"a","SecretString":"v","ClientRequestToken":"1"}`, "a"},
		{"CreateSecret", `{"Name":"a","SecretString":"v","ClientRequestToken":"2"}`, "ResourceExistsException"},
		{"GetSecretValue", `{"SecretId":"a"}`, "SecretString:v"},
		{"ListSecrets", `{}`, "Name:a"},
		{"ListSecrets", `{"Filters":[{"Key":"name","Values":["b"]}]}`, "SecretList:[]"},
		{"DeleteSecret", `{"SecretId":"a"}`, "Name:a"},
		{"GetSecretValue", `{"SecretId":"a"}`, "InvalidRequestException"},
		{"ListSecrets", `{}`, "SecretList:[]"},
		{"DeleteSecret", `{"SecretId":"a","ForceDeleteWithoutRecovery":true}`, "Name:a"},
		{"DescribeSecret", `{"SecretId":"a"}`, "ResourceNotFoundException"},
		{"RotateSecret", `{}`, "does not know"},
	} {
		if _, out := ask(step.operation, step.body); !strings.Contains(fmt.Sprint(out), step.want) {
			t.Errorf("%s %s: %v", step.operation, step.body, out)
		}
	}
	if len(s.Values()) > 0 {
		t.Errorf("values: %v", s.Values())
	}
}

func TestListingGoesByPages(t *testing.T) {
	t.Parallel()
	s, ask := store(t)
	for i := range 2*pageSize + 5 {
		ask("CreateSecret", fmt.Sprintf(`{"Name":"k%02d","SecretString":"v"}`, i))
	}
	seen, token := 0, ""
	for range 3 {
		_, out := ask("ListSecrets", `{"NextToken":"`+token+`"}`)
		seen += len(out["SecretList"].([]any))
		token, _ = out["NextToken"].(string)
	}
	if seen != len(s.Values()) || token != "" {
		t.Errorf("%d of %d are listed, the next page is %q", seen, len(s.Values()), token)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	s, ask := store(t)
	ask("CreateSecret", `{"Name":"a","SecretString":"v"}`)
	s.Set(ReadOnly)
	if _, out := ask("CreateSecret", `{"Name":"b","SecretString":"v"}`); out["__type"] != "AccessDeniedException" {
		t.Errorf("read-only, it answers %v", out)
	}
	if status, out := ask("GetSecretValue", `{"SecretId":"a"}`); status != http.StatusOK {
		t.Errorf("read-only, it answers %v", out)
	}
	s.Set(Gone)
	if status, _ := ask("GetSecretValue", `{"SecretId":"a"}`); status != http.StatusServiceUnavailable {
		t.Errorf("gone, it answers %d", status)
	}
	s.Set(Throttled)
	refused := 0
	for range 40 {
		if _, out := ask("GetSecretValue", `{"SecretId":"a"}`); out["__type"] == "ThrottlingException" {
			refused++
		}
	}
	if refused < 20 || refused == 40 {
		t.Errorf("throttled, it refuses %d of 40", refused)
	}
	s.Set(Healthy)
	if status, out := ask("GetSecretValue", `{"SecretId":"a"}`); status != http.StatusOK {
		t.Errorf("healed, it answers %v", out)
	}
}
