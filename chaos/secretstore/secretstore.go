// Package secretstore is a double of AWS Secrets Manager: as much of it as a key store uses. It can
// be read-only, throttle, or be gone.
package secretstore

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Mode is how the store behaves.
type Mode int

const (
	// Healthy answers everything.
	Healthy Mode = iota
	// ReadOnly refuses what changes something, as a policy of AWS would.
	ReadOnly
	// Throttled refuses three of four requests for their number.
	Throttled
	// Gone answers 503 to everything.
	Gone
)

// pageSize is how many secrets a page of the listing has at most.
const pageSize = 20

// Server is the store. All methods may be called by many.
type Server struct {
	http     *http.Server
	listener net.Listener

	mu      sync.Mutex
	mode    Mode
	secrets map[string]*secret
	made    int
	random  *rand.Rand
}

type secret struct {
	name, arn, description, version string
	text                            *string
	binary                          []byte
	tags                            []tag
	deleted                         *time.Time
}

type tag struct{ Key, Value string }

// Listen serves HTTPS on an address until Close. What is throttled is drawn by the seed.
func Listen(address string, certificate tls.Certificate, seed uint64) (*Server, error) {
	listener, err := tls.Listen("tcp", address, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	s := &Server{
		listener: listener, secrets: map[string]*secret{},
		random: rand.New(rand.NewPCG(seed, 0x73746f7265)), //nolint:gosec // repeatable, no secret
	}
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.http.Serve(listener) }() // it returns when Close is called
	return s, nil
}

// Address is where it listens.
func (s *Server) Address() string { return s.listener.Addr().String() }

// Close ends it.
func (s *Server) Close() { _ = s.http.Close() }

// Set changes how it behaves.
func (s *Server) Set(m Mode) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mode = m
}

// Values returns what the secrets hold, by name.
func (s *Server) Values() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	values := map[string]string{}
	for name, one := range s.secrets {
		values[name] = string(one.binary)
		if one.text != nil {
			values[name] = *one.text
		}
	}
	return values
}

// request has the members of all requests that are known.
type request struct {
	Name, SecretId, Description, ClientRequestToken, NextToken string //nolint:revive // AWS's names
	SecretString                                               *string
	SecretBinary                                               []byte
	Tags                                                       []tag
	ForceDeleteWithoutRecovery                                 bool
	MaxResults                                                 int
	Filters                                                    []struct {
		Key    string
		Values []string
	}
}

// refusal is an error as AWS tells it.
type refusal struct{ code, message string }

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var in request
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&in); err != nil {
		answer(w, http.StatusBadRequest, map[string]any{"__type": "SerializationException", "message": err.Error()})
		return
	}
	_, operation, _ := strings.Cut(r.Header.Get("X-Amz-Target"), ".")
	s.mu.Lock()
	defer s.mu.Unlock()
	changes := operation == "CreateSecret" || operation == "DeleteSecret" || strings.HasPrefix(operation, "Put") || strings.HasPrefix(operation, "Update")
	switch {
	case s.mode == Gone:
		answer(w, http.StatusServiceUnavailable, map[string]any{"__type": "ServiceUnavailableException", "message": "gone"})
		return
	case s.mode == Throttled && s.random.IntN(4) != 0:
		answer(w, http.StatusBadRequest, map[string]any{"__type": "ThrottlingException", "message": "Rate exceeded"})
		return
	case s.mode == ReadOnly && changes:
		answer(w, http.StatusBadRequest, map[string]any{"__type": "AccessDeniedException", "message": "the store is read-only"})
		return
	}
	out, refused := s.do(operation, &in)
	if refused != nil {
		answer(w, http.StatusBadRequest, map[string]any{"__type": refused.code, "message": refused.message})
		return
	}
	answer(w, http.StatusOK, out)
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // who asked may be gone
}

func (s *Server) do(operation string, in *request) (map[string]any, *refusal) {
	switch operation {
	case "CreateSecret":
		return s.create(in)
	case "GetSecretValue":
		return s.value(in)
	case "DescribeSecret":
		one := s.find(in.SecretId)
		if one == nil {
			return nil, notFound()
		}
		return one.describe(), nil
	case "DeleteSecret":
		return s.remove(in)
	case "ListSecrets":
		return s.list(in)
	}
	return nil, &refusal{"InvalidParameterException", "this double does not know " + operation}
}

func notFound() *refusal {
	return &refusal{"ResourceNotFoundException", "Secrets Manager can't find the specified secret."}
}

func (s *Server) find(id string) *secret {
	for name, one := range s.secrets {
		if name == id || one.arn == id {
			return one
		}
	}
	return nil
}

func (s *Server) create(in *request) (map[string]any, *refusal) {
	if old := s.secrets[in.Name]; old != nil {
		switch {
		case old.deleted != nil:
			return nil, &refusal{"InvalidRequestException", "a secret with this name is already scheduled for deletion"}
		case old.version != in.ClientRequestToken || old.version == "":
			return nil, &refusal{"ResourceExistsException", "the secret already exists"}
		}
		return map[string]any{"Name": old.name, "ARN": old.arn, "VersionId": old.version}, nil
	}
	s.made++
	one := &secret{
		name: in.Name, arn: fmt.Sprintf("arn:aws:secretsmanager:us-east-1:123456789012:secret:%s-%06d", in.Name, s.made),
		description: in.Description, version: in.ClientRequestToken, text: in.SecretString, binary: in.SecretBinary, tags: in.Tags,
	}
	s.secrets[in.Name] = one
	return map[string]any{"Name": one.name, "ARN": one.arn, "VersionId": one.version}, nil
}

func (s *Server) value(in *request) (map[string]any, *refusal) {
	one := s.find(in.SecretId)
	switch {
	case one == nil:
		return nil, notFound()
	case one.deleted != nil:
		return nil, &refusal{"InvalidRequestException", "the secret was marked for deletion"}
	}
	out := map[string]any{"Name": one.name, "ARN": one.arn, "VersionId": one.version}
	if one.text != nil {
		out["SecretString"] = *one.text
	} else {
		out["SecretBinary"] = one.binary
	}
	return out, nil
}

func (s *Server) remove(in *request) (map[string]any, *refusal) {
	one := s.find(in.SecretId)
	now := time.Now()
	switch {
	case one == nil && in.ForceDeleteWithoutRecovery:
	case one == nil:
		return nil, notFound()
	case in.ForceDeleteWithoutRecovery:
		delete(s.secrets, one.name)
	case one.deleted != nil:
		return nil, &refusal{"InvalidRequestException", "the secret was already scheduled for deletion"}
	default:
		one.deleted = &now
	}
	return map[string]any{"Name": in.SecretId, "DeletionDate": float64(now.Unix())}, nil
}

func (s *Server) list(in *request) (map[string]any, *refusal) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(s.secrets)), func(name string) bool { return s.secrets[name].deleted != nil })
	start := 0
	if in.NextToken != "" {
		var err error
		if start, err = strconv.Atoi(in.NextToken); err != nil || start < 0 || start > len(names) {
			return nil, &refusal{"InvalidNextTokenException", "The NextToken value is invalid."}
		}
	}
	size := pageSize
	if in.MaxResults > 0 {
		size = min(size, in.MaxResults)
	}
	end := min(start+size, len(names))
	entries := []map[string]any{}
	for _, name := range names[start:end] {
		if one := s.secrets[name]; one.matches(in) {
			entries = append(entries, one.describe())
		}
	}
	out := map[string]any{"SecretList": entries}
	if end < len(names) {
		out["NextToken"] = strconv.Itoa(end)
	}
	return out, nil
}

// matches applies the filters: each must fit, by one of its values as a prefix.
func (c *secret) matches(in *request) bool {
	for _, f := range in.Filters {
		has := []string{c.name}
		if f.Key == "tag-key" {
			has = nil
			for _, t := range c.tags {
				has = append(has, t.Key)
			}
		}
		fits := slices.ContainsFunc(has, func(h string) bool {
			return slices.ContainsFunc(f.Values, func(v string) bool { return strings.HasPrefix(h, v) })
		})
		if !fits {
			return false
		}
	}
	return true
}

func (c *secret) describe() map[string]any {
	out := map[string]any{"Name": c.name, "ARN": c.arn, "Description": c.description, "Tags": c.tags}
	if c.tags == nil {
		out["Tags"] = []tag{}
	}
	if c.deleted != nil {
		out["DeletedDate"] = float64(c.deleted.Unix())
	}
	return out
}
