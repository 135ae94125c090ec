// Package awsfake is an AWS Secrets Manager and AWS KMS for tests: as much of
// their JSON APIs as the key stores use, in memory, in process, and able to
// throttle, refuse, delay, break off, and fail after having stored.
package awsfake

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Region is the region that the fake's ARNs name.
const Region = "us-east-1"

// Fault is what goes wrong with calls of one operation.
type Fault struct {
	// Code and Message make the answer; with an empty Code the call succeeds
	// after Delay. Status 0 is 400.
	Code, Message string
	Status        int
	// Times the fault happens; 0 is always.
	Times int
	// Stored lets the operation take effect before its answer is replaced.
	Stored bool
	// Drop closes the connection instead of answering.
	Drop bool
	// Then, if not nil, is called before the answer is lost or replaced.
	Then func()
	// Delay before the answer.
	Delay time.Duration
}

// Server is a running fake.
type Server struct {
	// URL is its endpoint, for both services.
	URL string

	mu      sync.Mutex
	secrets map[string]*Secret
	keys    map[string]*Key
	faults  map[string]*Fault
	calls   map[string]int
	created int      // secrets so far
	listing []string // nil: listings are up to date
	page    int
	master  [32]byte
}

// Secret is a stored secret.
type Secret struct {
	String, Description, OwningService, KMSKey, Version string
	ARN                                                 string
	Binary                                              []byte
	Tags                                                map[string]string
	Deleted                                             bool
	RecoveryDays                                        int64
}

// Key is an AWS KMS key.
type Key struct {
	ARN, State, Usage, Spec string
}

// refusal is an error answer.
type refusal struct{ code, message string }

// Start runs a fake until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		secrets: make(map[string]*Secret),
		keys:    make(map[string]*Key),
		faults:  make(map[string]*Fault),
		calls:   make(map[string]int),
		page:    100,
	}
	fillRandom(s.master[:])
	srv := httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	s.URL = srv.URL
	return s
}

// Inject makes calls of an operation, such as "GetSecretValue", go wrong.
func (s *Server) Inject(op string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[op] = &f
}

// Heal ends all faults.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// Calls returns how often an operation was called.
func (s *Server) Calls(op string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[op]
}

// PutSecret plants a secret.
func (s *Server) PutSecret(name string, secret Secret) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets[name] = &secret
}

// Secret returns a copy of a secret.
func (s *Server) Secret(name string) (Secret, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	secret, ok := s.secrets[name]
	if !ok {
		return Secret{}, false
	}
	return *secret, true
}

// PutKey plants a KMS key under an id; an empty Key is a usable one.
func (s *Server) PutKey(id string, key Key) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for field, value := range map[*string]string{
		&key.ARN: "arn:aws:kms:" + Region + ":123456789012:key/" + id, &key.State: "Enabled",
		&key.Usage: "ENCRYPT_DECRYPT", &key.Spec: "SYMMETRIC_DEFAULT",
	} {
		if *field == "" {
			*field = value
		}
	}
	s.keys[id] = &key
}

// SetPageSize sets the size of listing pages.
func (s *Server) SetPageSize(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.page = n
}

// FreezeListing lets listings show the present state from now on, whatever
// happens, as AWS's do for some minutes.
func (s *Server) FreezeListing() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing = s.listable()
	if s.listing == nil {
		s.listing = []string{}
	}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	_, op, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	var in request
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, refusal{"SerializationException", err.Error()}.body())
		return
	}
	fault := s.take(op)
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-r.Context().Done():
			return
		}
	}
	broken := fault.Code != "" || fault.Drop
	if !broken || fault.Stored {
		out, refused := s.handle(op, &in)
		if !broken {
			if refused != nil {
				answer(w, http.StatusBadRequest, refused.body())
				return
			}
			answer(w, http.StatusOK, out)
			return
		}
	}
	if fault.Then != nil {
		fault.Then()
	}
	if fault.Drop {
		panic(http.ErrAbortHandler)
	}
	status := fault.Status
	if status == 0 {
		status = http.StatusBadRequest
	}
	answer(w, status, refusal{fault.Code, fault.Message}.body())
}

// take counts a call and returns the fault that hits it.
func (s *Server) take(op string) Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[op]++
	f, ok := s.faults[op]
	if !ok {
		return Fault{}
	}
	if f.Times > 0 {
		if f.Times--; f.Times == 0 {
			delete(s.faults, op)
		}
	}
	return *f
}

func (s *Server) handle(op string, in *request) (map[string]any, *refusal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "CreateSecret":
		return s.createSecret(in)
	case "GetSecretValue":
		return s.getSecretValue(in)
	case "DescribeSecret":
		return s.describeSecret(in)
	case "DeleteSecret":
		return s.deleteSecret(in)
	case "ListSecrets":
		return s.listSecrets(in)
	case "DescribeKey":
		return s.describeKey(in)
	case "Encrypt":
		return s.encrypt(in)
	case "Decrypt":
		return s.decrypt(in)
	}
	return nil, &refusal{"UnknownOperationException", "unknown operation " + op}
}

func (r refusal) body() map[string]any {
	return map[string]any{"__type": r.code, "message": r.message}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	// A caller that hung up is not the fake's concern.
	_ = json.NewEncoder(w).Encode(body)
}
