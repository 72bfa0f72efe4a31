{{/* The full name, which is a Service's too: a release may have dots, or begin with a digit, where a Service may not. */}}
{{- define "alert-remediator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $full := printf "%s-%s" $release $name -}}
{{- if .Values.fullnameOverride -}}
{{- $full = .Values.fullnameOverride -}}
{{- else if contains $name $release -}}
{{- $full = $release -}}
{{- else if regexMatch "^[0-9]" $release -}}
{{- $full = printf "%s-%s" $name $release -}}
{{- end -}}
{{- $full = regexReplaceAll "-+$" (trunc 50 $full) "" -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $full) -}}
{{- fail (printf "fullnameOverride: the name %s would be a Service's too, which begins with a letter; set one that does" $full) -}}
{{- end -}}
{{- $full -}}
{{- end }}

{{/* Of the CronJob, which may have 52 characters; a longer one is cut and told apart by a digest. */}}
{{- define "alert-remediator.auditName" -}}
{{- $name := include "alert-remediator.fullname" . -}}
{{- if gt (len $name) 46 -}}
{{- printf "%s-%s-audit" ($name | trunc 39 | trimSuffix "-") (sha256sum $name | trunc 6) -}}
{{- else -}}
{{- printf "%s-audit" $name -}}
{{- end -}}
{{- end }}

{{- define "alert-remediator.serviceAccount" -}}
{{- default (include "alert-remediator.fullname" .) .Values.serviceAccount.name -}}
{{- end }}

{{- define "alert-remediator.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end }}

{{/* The chart's labels, those of all objects, and those of this one, each name once. args: root, labels */}}
{{- define "alert-remediator.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name (.root.Chart.Version | replace "+" "_") | quote }}
{{ include "alert-remediator.selector" .root }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service | quote }}
{{- with merge (dict) (default (dict) .labels) .root.Values.commonLabels }}
{{- $given := . }}
{{- range list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" }}
{{- if hasKey $given . }}
{{- fail (printf "the label %s is the chart's own: leave it out of commonLabels, podLabels and other labels" .) }}
{{- end }}
{{- end }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* metadata of one object: root, name, and perhaps namespace, labels, annotations */}}
{{- define "alert-remediator.meta" -}}
name: {{ .name | quote }}
namespace: {{ default .root.Release.Namespace .namespace | quote }}
labels:
  {{- include "alert-remediator.labels" (dict "root" .root "labels" .labels) | nindent 2 }}
{{- with merge (dict) (default (dict) .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "alert-remediator.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}{{ .repository }}@{{ .digest }}{{- else -}}{{ .repository }}:{{ default $.Chart.AppVersion .tag }}{{- end -}}
{{- end -}}
{{- end }}

{{- define "alert-remediator.policyConfigMap" -}}
{{- default (printf "%s-policy" (include "alert-remediator.fullname" .)) .Values.policy.existingConfigMap -}}
{{- end }}

{{/* Whether an object of a kind that a cluster may not know is rendered: "true" or "". args: root, api, values */}}
{{- define "alert-remediator.render" -}}
{{- if .values.enabled -}}
{{- if or (eq .values.render "always") (.root.Capabilities.APIVersions.Has .api) -}}
true
{{- else if eq .values.render "fail" -}}
{{- fail (printf "%s: the cluster does not know %s; install it, or set render to skip or always" .key .api) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* A span such as 1h30m in milliseconds. */}}
{{- define "alert-remediator.milliseconds" -}}
{{- $units := dict "ms" 1 "s" 1000 "m" 60000 "h" 3600000 "d" 86400000 "w" 604800000 "y" 31536000000 -}}{{- $sum := 0 -}}
{{- range regexFindAll "[0-9]+(ms|[smhdwy])" (toString .) -1 -}}
{{- $sum = add $sum (mul (regexFind "[0-9]+" .) (get $units (regexFind "[a-z]+" .))) -}}
{{- end -}}
{{- $sum -}}
{{- end }}

{{/* Environment and volumes that are the same in the service and in its tests. */}}
{{- define "alert-remediator.env" -}}
- {name: REMEDIATOR_STATE_DIR, value: /state}
- {name: REMEDIATOR_POLICY_DIR, value: /policies}
- {name: REMEDIATOR_CLUSTER, value: in-cluster}
- {name: REMEDIATOR_PORT, value: "8080"}
{{- if not (hasKey .Values.settings "HOST") }}
- {name: REMEDIATOR_HOST, value: {{ ternary "\"::\"" "0.0.0.0" (eq (include "alert-remediator.takesIPv6" .) "true") }}}
{{- end }}
{{- range $name, $value := .Values.settings }}
- name: REMEDIATOR_{{ $name }}
  value: {{ toString $value | quote }}
{{- end }}
{{- include "alert-remediator.secretEnv" (dict "root" . "keys" .Values.secret.keys "folder" "/secrets") }}
{{- include "alert-remediator.extraEnv" . }}
{{- end }}

{{/* Environment of what reads or migrates the store and serves nobody: no tokens, no cluster. args: root, keys, folder */}}
{{- define "alert-remediator.storeEnv" -}}
- {name: REMEDIATOR_STATE_DIR, value: /state}
- {name: REMEDIATOR_HOST, value: 127.0.0.1}
{{- include "alert-remediator.secretEnv" . }}
{{- include "alert-remediator.extraEnv" .root }}
{{- end }}

{{/* Secrets by the setting's name, from a folder or as variables. args: root, keys, folder */}}
{{- define "alert-remediator.secretEnv" -}}
{{- $folder := .folder }}{{ $secret := .root.Values.secret }}
{{- range $name, $key := .keys }}
{{- if $secret.asEnv }}
- name: REMEDIATOR_{{ $name }}
  valueFrom: {secretKeyRef: {name: {{ $secret.name | quote }}, key: {{ $key | quote }}}}
{{- else }}
- {name: REMEDIATOR_{{ $name }}_FILE, value: {{ printf "%s/%s" $folder (lower $name) | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The volume of that folder, with these keys of the Secret and no other. args: root, keys */}}
{{- define "alert-remediator.secretVolume" -}}
secretName: {{ .root.Values.secret.name | quote }}
defaultMode: 0440
items:
  {{- range $name, $key := .keys }}
  - {key: {{ $key | quote }}, path: {{ lower $name | quote }}}
  {{- end }}
{{- end }}

{{/* What decides whether and where a pod may run: the same for the service, its test and its audit. */}}
{{- define "alert-remediator.placement" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - {name: {{ . | quote }}}
  {{- end }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "alert-remediator.mounts" -}}
- {name: policy, mountPath: /policies, readOnly: true}
- {name: tmp, mountPath: /tmp}
- {name: token, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
{{- if not .Values.secret.asEnv }}
- {name: secrets, mountPath: /secrets, readOnly: true}
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "alert-remediator.volumes" -}}
- name: policy
  configMap: {name: {{ include "alert-remediator.policyConfigMap" . | quote }}}
- name: tmp
  emptyDir: {sizeLimit: 64Mi}
- name: token
  projected:
    defaultMode: 0440
    sources:
      - serviceAccountToken: {path: token, expirationSeconds: 3600}
      - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
      - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
{{- if not .Values.secret.asEnv }}
- name: secrets
  secret:
    {{- include "alert-remediator.secretVolume" (dict "root" . "keys" .Values.secret.keys) | nindent 4 }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "alert-remediator.podSecurity" -}}
runAsNonRoot: true
{{- with .Values.runAsUser }}
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
{{- end }}
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "alert-remediator.security" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Where an AlertmanagerConfig is made, as a JSON list: the operator lets each have its own namespace's alerts alone. */}}
{{- define "alert-remediator.alertNamespaces" -}}
{{- if .Values.alertmanagerConfig.namespaces -}}
{{- .Values.alertmanagerConfig.namespaces | toJson -}}
{{- else if and .Values.policy.existingConfigMap (not .Values.rbac.roles) -}}
{{- fail "alertmanagerConfig.namespaces: the chart cannot read policy.existingConfigMap; name the namespaces whose alerts are sent" -}}
{{- else -}}
{{- include "alert-remediator.spaces" . -}}
{{- end -}}
{{- end }}

{{/* More environment: never a setting, from which the chart would then have derived something else. */}}
{{- define "alert-remediator.extraEnv" -}}
{{- range .Values.extraEnv }}
{{- if hasPrefix "REMEDIATOR_" (toString .name) }}
{{- fail (printf "extraEnv: %s is a setting of the service: say it as settings.%s, a secret as secret.keys, and what the chart sets itself by its own value" .name (trimPrefix "REMEDIATOR_" .name)) }}
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Egress to whoever resolves names: pods of the cluster, OpenShift's, which listen on another port, and addresses that are no pod's. */}}
{{- define "alert-remediator.names" -}}
# Names.
- to:
    - namespaceSelector: {}
    {{- range .Values.networkPolicy.dns.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
# A policy sees the pods' port, behind the Service's 53.
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: openshift-dns}}}]
  ports: [{port: 5353, protocol: UDP}, {port: 5353, protocol: TCP}]
{{- end }}
