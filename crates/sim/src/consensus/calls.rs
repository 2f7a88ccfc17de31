//! What clients do: calls at a rate, mostly of whoever leads, and those that prove that a healed cell serves.

use super::host::Command;
use super::machine::REGISTERS;
use super::world::World;

impl World {
    /// A client calls, mostly whoever leads, sometimes anyone.
    pub(super) fn call(&mut self) {
        let (rate, reads) = (self.plan.calls, self.plan.reads_permille);
        if !self.happens("call", rate) {
            return;
        }
        let (leaders, up) = (self.leaders(), self.up());
        let longest = self.plan.payload_bytes;
        let draw = self.draw("client");
        let anyone = leaders.is_empty() || draw.chance(100);
        let whom = if anyone { up } else { leaders };
        let (register, is_read) = (draw.between(0, u64::from(REGISTERS) - 1) as u8, draw.chance(reads));
        let bytes = draw.between(0, longest) as usize;
        if !whom.is_empty() {
            let name = self.draw("client").one_of(&whom);
            self.make_call(&name, register, is_read, bytes);
        }
    }

    pub(super) fn make_call(&mut self, name: &str, register: u8, is_read: bool, bytes: usize) {
        self.calls += 1;
        let call = self.calls;
        self.ledger.begin(call);
        let command =
            if is_read { Command::Read { call, register } } else { Command::Write { call, register, bytes } };
        self.tell(name, command);
    }
}
