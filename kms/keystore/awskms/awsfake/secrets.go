package awsfake

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// request holds the members of all requests that the fake knows.
type request struct {
	Name, SecretId, Description, KmsKeyId, ClientRequestToken, NextToken string
	SecretString                                                         *string
	SecretBinary                                                         []byte
	Tags                                                                 []tag
	RecoveryWindowInDays                                                 *int64
	ForceDeleteWithoutRecovery                                           bool
	MaxResults                                                           int
	Filters                                                              []struct {
		Key    string
		Values []string
	}
	KeyId                     string
	Plaintext, CiphertextBlob []byte
	EncryptionContext         map[string]string
}

type tag struct{ Key, Value string }

func notFound() *refusal {
	return &refusal{"ResourceNotFoundException", "Secrets Manager can't find the specified secret."}
}

func (s *Server) createSecret(in *request) (map[string]any, *refusal) {
	if old, ok := s.secrets[in.Name]; ok {
		switch {
		case old.Deleted:
			return nil, &refusal{"InvalidRequestException", "You can't create this secret because a secret with this name is already scheduled for deletion."}
		case old.Version != in.ClientRequestToken || in.ClientRequestToken == "":
			return nil, &refusal{"ResourceExistsException", "The operation failed because the secret " + in.Name + " already exists."}
		}
		return map[string]any{"Name": in.Name, "VersionId": old.Version}, nil
	}
	if in.SecretString == nil && len(in.SecretBinary) == 0 {
		return nil, &refusal{"InvalidParameterException", "You must provide either SecretString or SecretBinary."}
	}
	secret := &Secret{Description: in.Description, KMSKey: in.KmsKeyId, Version: in.ClientRequestToken, Binary: in.SecretBinary, Tags: map[string]string{}}
	if in.SecretString != nil {
		secret.String = *in.SecretString
	}
	for _, t := range in.Tags {
		secret.Tags[t.Key] = t.Value
	}
	s.created++
	secret.ARN = fmt.Sprintf("arn:aws:secretsmanager:%s:123456789012:secret:%s-%06d", Region, in.Name, s.created)
	s.secrets[in.Name] = secret
	return map[string]any{"Name": in.Name, "VersionId": secret.Version}, nil
}

func (s *Server) getSecretValue(in *request) (map[string]any, *refusal) {
	secret, ok := s.secrets[in.SecretId]
	if !ok {
		return nil, notFound()
	}
	if secret.Deleted {
		return nil, &refusal{"InvalidRequestException", "You can't perform this operation on the secret because it was marked for deletion."}
	}
	out := map[string]any{"Name": in.SecretId, "VersionId": secret.Version}
	if secret.Binary != nil {
		out["SecretBinary"] = secret.Binary
	} else {
		out["SecretString"] = secret.String
	}
	return out, nil
}

func (s *Server) describeSecret(in *request) (map[string]any, *refusal) {
	secret, ok := s.secrets[in.SecretId]
	if !ok {
		return nil, notFound()
	}
	return secret.describe(in.SecretId), nil
}

func (c *Secret) describe(name string) map[string]any {
	tags := []tag{}
	for k, v := range c.Tags {
		tags = append(tags, tag{k, v})
	}
	out := map[string]any{"Name": name, "Description": c.Description, "Tags": tags}
	if c.ARN != "" {
		out["ARN"] = c.ARN
	}
	if c.OwningService != "" {
		out["OwningService"] = c.OwningService
	}
	if c.Deleted {
		out["DeletedDate"] = float64(time.Now().Unix())
	}
	return out
}

// named is the name of a secret that is asked for by name or by ARN, which is one
// secret's alone.
func (s *Server) named(id string) string {
	for name, secret := range s.secrets {
		if secret.ARN != "" && secret.ARN == id {
			return name
		}
	}
	return id
}

func (s *Server) deleteSecret(in *request) (map[string]any, *refusal) {
	in.SecretId = s.named(in.SecretId)
	secret, ok := s.secrets[in.SecretId]
	switch {
	case in.ForceDeleteWithoutRecovery && in.RecoveryWindowInDays != nil:
		return nil, &refusal{"InvalidParameterException", "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays."}
	case in.ForceDeleteWithoutRecovery:
		delete(s.secrets, in.SecretId)
	case !ok:
		return nil, notFound()
	case secret.Deleted:
		return nil, &refusal{"InvalidRequestException", "You can't perform this operation on the secret because it was already scheduled for deletion."}
	default:
		secret.Deleted = true
		secret.RecoveryDays = 30
		if in.RecoveryWindowInDays != nil {
			secret.RecoveryDays = *in.RecoveryWindowInDays
		}
	}
	return map[string]any{"Name": in.SecretId, "DeletionDate": float64(time.Now().Unix())}, nil
}

func (s *Server) listable() []string {
	var names []string
	for name, secret := range s.secrets {
		if !secret.Deleted {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	return names
}

// listSecrets pages over the unfiltered listing, so that a page may be empty
// and still have a successor, as on AWS.
func (s *Server) listSecrets(in *request) (map[string]any, *refusal) {
	names := s.listing
	if names == nil {
		names = s.listable()
	}
	start, err := 0, error(nil)
	if in.NextToken != "" {
		if start, err = strconv.Atoi(in.NextToken); err != nil || start > len(names) {
			return nil, &refusal{"InvalidNextTokenException", "The NextToken value is invalid."}
		}
	}
	size := s.page
	if in.MaxResults > 0 && in.MaxResults < size {
		size = in.MaxResults
	}
	end := min(start+size, len(names))
	entries := []map[string]any{}
	for _, name := range names[start:end] {
		secret, ok := s.secrets[name]
		if !ok {
			secret = &Secret{}
		}
		if secret.matches(name, in) {
			entry := secret.describe(name)
			if s.listing != nil {
				delete(entry, "DeletedDate")
			}
			entries = append(entries, entry)
		}
	}
	out := map[string]any{"SecretList": entries}
	if end < len(names) {
		out["NextToken"] = strconv.Itoa(end)
	}
	return out, nil
}

// matches applies AWS's filters: all keys must match, by one value's prefix.
func (c *Secret) matches(name string, in *request) bool {
	for _, f := range in.Filters {
		candidates := []string{name}
		if f.Key == "tag-key" {
			candidates = nil
			for k := range c.Tags {
				candidates = append(candidates, k)
			}
		}
		if !anyPrefix(candidates, f.Values) {
			return false
		}
	}
	return true
}

func anyPrefix(candidates, prefixes []string) bool {
	for _, c := range candidates {
		for _, p := range prefixes {
			if strings.HasPrefix(c, p) {
				return true
			}
		}
	}
	return false
}
